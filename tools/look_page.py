"""A sheet of blocks, one per image, in as many columns as make it no tall strip, and its text."""

from collections.abc import Sequence
from itertools import count

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LARGE, SMALL = ImageFont.load_default(13), ImageFont.load_default(10)
BETWEEN, TITLE = 14, 24  # px between blocks, above the sheet
BOX_COLOR = "#e4572e"
TALL = 1.5  # a sheet that is so many times as high as wide gets another column


def arranged(blocks: Sequence[Image.Image], title: str = "") -> Image.Image:
    """Blocks of one size, line by line."""
    wide, high, top = blocks[0].width + BETWEEN, blocks[0].height + BETWEEN, TITLE if title else 0
    columns = next(c for c in count(1) if c >= len(blocks) or -(-len(blocks) // c) * high <= TALL * c * wide)
    size = columns * wide - BETWEEN, top + -(-len(blocks) // columns) * high - BETWEEN
    page = Image.new("RGB", size, "white")
    ImageDraw.Draw(page).text((2, 3), fitting(title, page.width, LARGE), "black", LARGE)
    for n, block in enumerate(blocks):
        page.paste(block, (n % columns * wide, top + n // columns * high))
    return page


def boxed(image: Image.Image, boxes: list[np.ndarray], side: int) -> Image.Image:
    """The image with its crop boxes (top, left, height, width, px), at most `side` px high and wide."""
    scale = side / max(image.size)
    small = image.resize((max(1, round(scale * image.width)), max(1, round(scale * image.height))))
    for box in boxes:
        top, left, height, width = (scale * box).tolist()
        ImageDraw.Draw(small).rectangle((left, top, left + width - 1, top + height - 1), outline=BOX_COLOR, width=1)
    return small


def fitting(text: str, width: int, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont") -> str:
    """A text, or its beginning and its end, in `width` px."""
    for kept in range(len(text), 0, -1):
        shown = text if kept == len(text) else f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"
        if font.getlength(shown) <= width:
            return shown
    return ""


def wrapped(words: Sequence[str], width: int) -> list[str]:
    """Lines of whole words, `width` px wide, in small print."""
    lines: list[str] = []
    for word in words:
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and SMALL.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
