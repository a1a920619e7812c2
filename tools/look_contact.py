"""A contact sheet: each image with its crop boxes, then its views with what was drawn for them in small print."""

import textwrap

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from viewstream.augment.crops import crop_params
from viewstream.augment.draw import Draws
from viewstream.augment.spec import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    RandomResizedCrop,
    Solarize,
    View,
    built_in_ops,
    size_of,
)
from viewstream.tools.look_sheet import BOX_COLOR, levels
from viewstream.tools.look_views import Samples, by_reference

GAP, HEADER, TITLE, LINE = 6, 19, 22, 10  # px between tiles, above an image, above the sheet, of small print
LARGE, SMALL = ImageFont.load_default(13), ImageFont.load_default(9)
SMALLEST = 56  # px, side of a tile


def contact_sheet(samples: Samples, side: int, title: str = "") -> Image.Image:
    """One line per image: the image, then each of its views by the reference renderer; tiles of at most `side` px, in
    which small views are smaller."""
    views, rendered = samples.views, by_reference(samples)
    largest = max(map(size_of, views))
    sides = [max(SMALLEST, side * size_of(view) // largest) for view in views]
    words = [
        [_lines(view, draws, i, tile) for view, draws, tile in zip(views, samples.draws, sides, strict=True)]
        for i in range(len(samples.images))
    ]
    tallest = max(tile + LINE * len(lines) for row in words for tile, lines in zip(sides, row, strict=True))
    height, top = HEADER + max(side, tallest) + 2 * GAP, TITLE if title else 0
    page = Image.new("RGB", (side + sum(tile + GAP for tile in sides), top + height * len(words)), "white")
    pen = ImageDraw.Draw(page)
    pen.text((2, 3), title, "black", LARGE)
    for i, row in enumerate(words):
        boxes = [crop_params(v, d, samples.hw)[i, :4] for v, d in zip(views, samples.draws, strict=True)]
        x, y = 0, top + i * height
        pen.text((2, y + 1), _cut(samples.names[i], page.width, LARGE), "black", LARGE)
        page.paste(boxed(samples.images[i], boxes, side), (0, y + HEADER))
        x = side + GAP
        for view, tensor, lines, tile in zip(views, (r[i] for r in rendered), row, sides, strict=True):
            pixels = Image.fromarray((levels(view, tensor) + 0.5).astype(np.uint8))
            page.paste(pixels.resize((tile, tile), Image.Resampling.LANCZOS), (x, y + HEADER))
            for number, line in enumerate(lines):
                pen.text((x, y + HEADER + tile + 1 + LINE * number), line, "#555555", SMALL)
            x += tile + GAP
    return page


def boxed(image: Image.Image, boxes: list[np.ndarray], side: int) -> Image.Image:
    """The image with its crop boxes (top, left, height, width, px), at most `side` px high and wide."""
    scale = side / max(image.size)
    small = image.resize((max(1, round(scale * image.width)), max(1, round(scale * image.height))))
    for box in boxes:
        top, left, height, width = (scale * box).tolist()
        ImageDraw.Draw(small).rectangle((left, top, left + width - 1, top + height - 1), outline=BOX_COLOR, width=1)
    return small


def drawn(view: View, draws: Draws, row: int) -> str:
    """What was drawn for a view of image `row`, in a few words: the size of the crop, and the ops that are on."""
    words = []
    for op, values in zip(built_in_ops(view), draws, strict=True):
        if "on" in values and not values["on"][row]:
            continue
        if isinstance(op, RandomResizedCrop):
            height, width = values["box"][row, 2:].tolist()
            words.append(f"crop {width} x {height}")
        elif isinstance(op, HorizontalFlip):
            words.append("flip")
        elif isinstance(op, ColorJitter):
            names = zip("bcs", values["factor"][row].tolist(), strict=True)
            words.append(" ".join([*(f"{n}{f:.2f}" for n, f in names), f"h{values['hue'][row]:+.2f}"]))
        elif isinstance(op, Grayscale):
            words.append("gray")
        elif isinstance(op, GaussianBlur):
            words.append(f"blur {values['sigma'][row]:.1f}")
        elif isinstance(op, Solarize):
            words.append("solarize")
    return ", ".join(words)


def _lines(view: View, draws: Draws, row: int, tile: int) -> list[str]:
    return textwrap.wrap(drawn(view, draws, row), max(8, round(tile / 4.6)))


def _cut(text: str, width: int, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont") -> str:
    """The beginning of a text that fits."""
    while text and font.getlength(text) > width:
        text = text[:-1]
    return text
