"""The sheet that tools/look.py draws: originals with crop boxes, views by each renderer, and their differences."""

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from viewstream.augment.crops import crop_params
from viewstream.augment.spec import Normalize, View, size_of
from viewstream.tools.look_page import LARGE, SMALL, arranged, boxed, fitting
from viewstream.tools.look_views import RENDERERS, Samples

SMALLEST = 96  # side of a tile, px, unless its view is larger
GAP, NAME, HEADER = 4, 19, 15  # px between tiles, above an image, above a row of tiles
GAIN = 16  # factor on differences
Tile = tuple[str, Image.Image]


def draw_sheet(samples: Samples, renderers: tuple[str, ...], title: str = "") -> Image.Image:
    """One block per image, one row per view: the image, each renderer's view, and differences from the first one."""
    rendered = {name: RENDERERS[name](samples) for name in renderers}
    sides = [max(size_of(view), SMALLEST) for view in samples.views]
    note = f"; differences {GAIN} times as loud" if len(renderers) > 1 else ""
    blocks = []
    for i, name in enumerate(samples.names):
        block = Image.new(
            "RGB", (2 * len(renderers) * (max(sides) + GAP), NAME + sum(HEADER + side + GAP for side in sides)), "white"
        )
        pen, y = ImageDraw.Draw(block), NAME
        pen.text((2, 1), fitting(name, block.width - 2, LARGE), "black", LARGE)
        for number, (view, side) in enumerate(zip(samples.views, sides, strict=True)):
            box = crop_params(view, samples.draws[number], samples.hw)[i, :4]
            tiles = [(f"view {number}", square(boxed(samples.images[i], [box], side), side))]
            tiles += compare(view, {name: views[number][i] for name, views in rendered.items()})
            for n, (text, tile) in enumerate(tiles):
                block.paste(tile.resize((side, side), Image.Resampling.NEAREST), (n * (side + GAP), y + HEADER))
                pen.text((n * (side + GAP) + 2, y + 1), fitting(text, side, SMALL), "black", SMALL)
            y += HEADER + side + GAP
        blocks.append(block)
    return arranged(blocks, title + note)


def square(image: Image.Image, side: int) -> Image.Image:
    """The image in the middle of a white square."""
    page = Image.new("RGB", (side, side), "white")
    page.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return page


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
        tiles.append((f"gap {gap.mean():.2f}, max {gap.max():.0f}", amplified))
    return tiles


def levels(view: View, x: Tensor) -> np.ndarray:
    """[3, S, S] normalized -> [S, S, 3] in levels of 8 bits, float."""
    norm = next(op for op in view if isinstance(op, Normalize))
    x = x.float() * torch.tensor(norm.std).view(3, 1, 1) + torch.tensor(norm.mean).view(3, 1, 1)
    return (x * 255).clamp(0, 255).permute(1, 2, 0).numpy()
