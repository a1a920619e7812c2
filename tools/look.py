"""Look at what a recipe makes of pictures: each original with the drawn boxes, beside its views as a trainer gets them.

python tools/look.py --data data/shards/imagenet-lt6-train --views moco_v2 --ids 0-7 --out views.png
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import simplejpeg
import torch
from PIL import Image, ImageDraw

from viewstream.augment import device
from viewstream.augment.crops import CUT, cuts, on_device, rest
from viewstream.augment.draw import Draws, draw
from viewstream.augment.recipes import VIEWS
from viewstream.augment.spec import Normalize, View, size_of
from viewstream.pipeline.choose import open_door
from viewstream.pipeline.resize import cut
from viewstream.shards.cli import parse, run
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest

EDGE, COLOURS = 4, ("#e4572e", "#17bebb", "#ffc914", "#76b041", "#a05eb5", "#2e282a", "#5390d9", "#ff7eb6")


@dataclass(frozen=True)
class Look:
    """Which pictures, and how"""

    data: Annotated[str, "a built data set"] = ""
    loader: Annotated[str, "door to the data: folder, webdataset or ffcv"] = "webdataset"
    views: Annotated[Literal["moco_v1", "moco_v2"], "augmentation recipe"] = "moco_v2"
    size: Annotated[int, "side of a view, px", 8] = 224
    ids: Annotated[str, "manifest rows, a-b or a,b,c"] = "0-7"
    seed: Annotated[int, "of the draws"] = 0
    epoch: Annotated[int, "of the draws"] = 0
    out: Annotated[str, "PNG to write"] = "views.png"


def rows_of(ids: str, samples: int) -> np.ndarray:
    """`0-7` or `3,1,4` -> ids, checked."""
    try:
        first, _, last = ids.partition("-")
        rows = np.arange(int(first), int(last) + 1) if last else np.array([int(i) for i in ids.split(",")])
    except ValueError:
        raise UserError(f"--ids takes a-b or a,b,c, got {ids!r}") from None
    if not len(rows) or rows.min() < 0 or rows.max() >= samples:
        raise UserError(f"--ids {ids} is outside the data set, which has rows 0-{samples - 1}")
    return rows


def rendered(view: View, image: Image.Image, draws: Draws, row: int) -> Image.Image:
    """One view as the trainer gets it, shown in 8 bits."""
    size = size_of(view)
    one: Draws = tuple({k: v[row : row + 1] for k, v in d.items()} for d in draws)
    box = cuts(view, one, np.array([[image.height, image.width]]))
    assert box.shape == (1, CUT)
    pixels = np.empty((1, size, size, 3), np.uint8)
    cut(np.asarray(image).reshape(-1), image.width, box[0], size, pixels.reshape(-1))
    x = device.render(on_device(view), torch.from_numpy(pixels), torch.from_numpy(device.pack(rest(view, one), 1)))[0]
    norm = view[-1]
    assert isinstance(norm, Normalize)
    x = x * torch.tensor(norm.std).view(3, 1, 1) + torch.tensor(norm.mean).view(3, 1, 1)
    return Image.fromarray((x * 255 + 0.5).clamp(0, 255).byte().permute(1, 2, 0).numpy())


def original(image: Image.Image, boxes: list[np.ndarray], side: int) -> Image.Image:
    """The picture in a square of `side` px, with each view's box in its colour."""
    shown = image.copy()
    pen = ImageDraw.Draw(shown)
    for colour, (top, left, height, width) in zip(COLOURS, boxes, strict=False):
        pen.rectangle((left, top, left + width - 1, top + height - 1), outline=colour, width=max(2, image.width // 120))
    shown.thumbnail((side, side))
    square = Image.new("RGB", (side, side), "white")
    square.paste(shown, ((side - shown.width) // 2, (side - shown.height) // 2))
    return square


def sheet(options: Look) -> Image.Image:
    """A row a picture: key, original, views."""
    manifest = Manifest.open(options.data)
    rows, views = rows_of(options.ids, len(manifest)), VIEWS[options.views](options.size)
    door, side = open_door(options.loader, manifest), max(options.size, 96)
    draws = [
        draw(v, manifest.uid[rows], manifest.hw[rows], seed=options.seed, epoch=options.epoch, number=i)
        for i, v in enumerate(views)
    ]
    step, head = side + EDGE, 16
    page = Image.new("RGB", (step * (1 + len(views)), (step + head) * len(rows)), "white")
    pen = ImageDraw.Draw(page)
    for i, row in enumerate(rows):
        data = door.read(int(row))
        image = Image.fromarray(data if isinstance(data, np.ndarray) else simplejpeg.decode_jpeg(data))
        y = i * (step + head)
        pen.text((2, y + 2), f"{row}  {manifest.keys[row]}  {image.width} x {image.height}", "black")
        page.paste(original(image, [d[0]["box"][i] for d in draws], side), (0, y + head))
        for n, (view, drawn) in enumerate(zip(views, draws, strict=True)):
            tile = rendered(view, image, drawn, i).resize((side, side), Image.Resampling.NEAREST)
            page.paste(tile, ((n + 1) * step, y + head))
            pen.rectangle((n * step + step, y + head, n * step + step + side - 1, y + head + side - 1),
                          outline=COLOURS[n % len(COLOURS)], width=2)  # fmt: skip
    return page


def main() -> None:
    (options,) = parse(Look(), about=__doc__ or "")
    if not options.data:
        raise UserError("no data set to look at: name one with --data data/shards/<name>")
    if Path(options.out).suffix.lower() != ".png":
        raise UserError(f"--out {options.out} is no PNG: give it a name that ends with .png")
    page = sheet(options)
    Path(options.out).parent.mkdir(parents=True, exist_ok=True)
    page.save(options.out)
    print(f"written to {options.out}, {page.width} x {page.height} px")


if __name__ == "__main__":
    run(main)
