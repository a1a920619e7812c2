"""A contact sheet: each image with its crop boxes, then its views with what was drawn for them in small print."""

import re

import numpy as np
from PIL import Image, ImageDraw

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
from viewstream.tools.look_page import LARGE, SMALL, arranged, boxed, fitting, wrapped
from viewstream.tools.look_sheet import levels
from viewstream.tools.look_views import Samples, by_reference

GAP, HEADER, LINE = 6, 19, 12  # px between tiles, above an image, of small print
SMALLEST = 56  # px, side of a tile
WORD = re.compile(r"\d+ x \d+,?|blur [\d.]+,?|\S+")  # of small print, which stays on one line


def contact_sheet(samples: Samples, side: int, title: str = "") -> Image.Image:
    """The blocks of all images on one sheet."""
    return arranged(contact_blocks(samples, side), title)


def contact_blocks(samples: Samples, side: int) -> list[Image.Image]:
    """One block per image: the image, then each of its views by the reference renderer; tiles of at most `side` px, in
    which small views are smaller."""
    views, rendered = samples.views, by_reference(samples)
    largest = max(map(size_of, views))
    sides = [max(SMALLEST, side * size_of(view) // largest) for view in views]
    words = [
        [
            wrapped(WORD.findall(drawn(view, draws, i)), tile)
            for view, draws, tile in zip(views, samples.draws, sides, strict=True)
        ]
        for i in range(len(samples.images))
    ]
    tallest = max(tile + LINE * len(lines) for row in words for tile, lines in zip(sides, row, strict=True))
    size = side + sum(tile + GAP for tile in sides), HEADER + max(side, tallest) + LINE // 3
    blocks = []
    for i, row in enumerate(words):
        block = Image.new("RGB", size, "white")
        pen = ImageDraw.Draw(block)
        boxes = [crop_params(v, d, samples.hw)[i, :4] for v, d in zip(views, samples.draws, strict=True)]
        pen.text((2, 1), fitting(samples.names[i], block.width - 2, LARGE), "black", LARGE)
        block.paste(boxed(samples.images[i], boxes, side), (0, HEADER))
        x = side + GAP
        for view, tensor, lines, tile in zip(views, (r[i] for r in rendered), row, sides, strict=True):
            pixels = Image.fromarray((levels(view, tensor) + 0.5).astype(np.uint8))
            block.paste(pixels.resize((tile, tile), Image.Resampling.LANCZOS), (x, HEADER))
            for number, line in enumerate(lines):
                pen.text((x, HEADER + tile + 1 + LINE * number), line, "#555555", SMALL)
            x += tile + GAP
        blocks.append(block)
    return blocks


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
