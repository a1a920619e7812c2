"""The sheet that tools/look.py draws: originals with crop boxes, views by each renderer, and their differences."""

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from viewstream.augment.crops import crop_params
from viewstream.augment.spec import Normalize, View
from viewstream.tools.look_views import RENDERERS, Samples

SMALLEST = 96  # side of a tile, px, unless its view is larger
GAP, HEADER, LETTER = 4, 16, 6  # px between tiles, above a row, and per letter
GAIN = 16  # factor on differences
BOX_COLOR = "#e4572e"
Tile = tuple[str, Image.Image]


def draw_sheet(samples: Samples, renderers: tuple[str, ...], size: int) -> Image.Image:
    """One row per image and view: the original, then each renderer's view and its difference from the first renderer.

    `size` is the side of the (large) views, px.
    """
    rendered = {name: RENDERERS[name](samples) for name in renderers}
    side = max(size, SMALLEST)
    rows = [(i, number) for i in range(len(samples.images)) for number in range(len(samples.views))]
    page = Image.new("RGB", (2 * len(renderers) * (side + GAP), (side + HEADER) * len(rows)), "white")
    pen = ImageDraw.Draw(page)
    for y, (i, number) in zip(range(0, page.height, side + HEADER), rows, strict=True):
        view = samples.views[number]
        box = crop_params(view, samples.draws[number], samples.hw)[i, :4]
        tiles = [(f"view {number} of {samples.names[i]}", original(samples.images[i], box, side))]
        tiles += compare(view, {name: views[number][i] for name, views in rendered.items()})
        for x, (text, tile) in zip(range(0, page.width, side + GAP), tiles, strict=True):
            page.paste(tile.resize((side, side), Image.Resampling.NEAREST), (x, y + HEADER))
            pen.text((x + 2, y + 2), text[: side // LETTER], "black")
    return page


def original(image: Image.Image, box: np.ndarray, side: int) -> Image.Image:
    """The image within a white square of `side` px, with the crop `box` (top, left, height, width, px) drawn on it."""
    boxed = image.copy()
    top, left, height, width = box.tolist()
    corners = (left, top, left + width - 1, top + height - 1)
    ImageDraw.Draw(boxed).rectangle(corners, outline=BOX_COLOR, width=max(2, image.width // 100))
    boxed.thumbnail((side, side))
    square = Image.new("RGB", (side, side), "white")
    square.paste(boxed, ((side - boxed.width) // 2, (side - boxed.height) // 2))
    return square


def compare(view: View, rendered: dict[str, Tensor]) -> list[Tile]:
    """A tile per renderer, and its amplified difference after every tile but the first; `rendered`: [3, S, S] each."""
    tiles: list[Tile] = []
    first = None
    for name, x in rendered.items():
        pixels = levels(view, x)
        tiles.append((name, Image.fromarray((pixels + 0.5).astype(np.uint8))))
        if first is None:
            first = pixels
            continue
        gap = np.abs(pixels - first)
        amplified = Image.fromarray((gap * GAIN).clip(0, 255).astype(np.uint8))
        tiles.append((f"gap {gap.mean():.2f}, max {gap.max():.0f} (x {GAIN})", amplified))
    return tiles


def levels(view: View, x: Tensor) -> np.ndarray:
    """[3, S, S] normalized -> [S, S, 3] in levels of 8 bits, float."""
    norm = next(op for op in view if isinstance(op, Normalize))
    x = x.float() * torch.tensor(norm.std).view(3, 1, 1) + torch.tensor(norm.mean).view(3, 1, 1)
    return (x * 255).clamp(0, 255).permute(1, 2, 0).numpy()
