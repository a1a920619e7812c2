"""Look at what a recipe makes of images: each with the drawn box, its view by every renderer, and where they differ.

python tools/look.py --data data/shards/imagenet-lt6-train --views moco_v2 --ids 0-7 --out views.png
python tools/look.py --list
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import simplejpeg
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from viewstream.augment.crops import crop_params, on_device, rest
from viewstream.augment.draw import Draws, draw
from viewstream.augment.recipes import VIEWS, views_of
from viewstream.augment.renderers import dali, device, packing, reference
from viewstream.augment.spec import Normalize, Op, View, Views, built_in_ops, size_of
from viewstream.pipeline.choose import open_reader
from viewstream.pipeline.cut.resize import resized_crop
from viewstream.shards.cli import Renamed, parse, run
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest

EDGE, HEAD, LETTER, LOUDER = 4, 16, 6, 16  # px between tiles, above a row, of a letter; factor on differences
BOX = "#e4572e"


@dataclass(frozen=True)
class Look:
    """Which images, and how"""

    data: Annotated[str, "a built data set"] = ""
    list: Annotated[bool, "list the recipes, and who does which op, instead of drawing"] = False
    loader: Annotated[str, "reader to the data: folder, webdataset or ffcv"] = "webdataset"
    views: Annotated[str, "augmentation recipe", Renamed("recipe")] = "moco_v2"
    renderers: Annotated[
        tuple[Literal["reference", "device", "dali"], ...], "side by side, against the first (those installed)"
    ] = ()
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
    except ValueError as error:
        raise UserError(f"--ids takes a-b or a,b,c, got {ids!r}") from error
    if not len(rows) or rows.min() < 0 or rows.max() >= samples:
        raise UserError(f"--ids {ids} is outside the data set, which has rows 0-{samples - 1}")
    return rows


@dataclass(frozen=True)
class Pictures:
    """What there is to render."""

    views: Views
    jpegs: list[bytes]
    images: list[Image.Image]
    draws: list[Draws]  # a view

    @property
    def hw(self) -> np.ndarray:
        return np.array([(image.height, image.width) for image in self.images])


def by_reference(p: Pictures) -> list[Tensor]:
    """Every view, [N, 3, S, S] normalized."""
    return [
        torch.stack([reference.render(view, image, drawn, row) for row, image in enumerate(p.images)])
        for view, drawn in zip(p.views, p.draws, strict=True)
    ]


def by_device(p: Pictures) -> list[Tensor]:
    """The host cuts, the device renders the rest."""
    made = []
    for view, drawn in zip(p.views, p.draws, strict=True):
        n, size = len(p.images), size_of(view)
        pixels = np.empty((n, size, size, 3), np.uint8)
        for image, box, out in zip(p.images, crop_params(view, drawn, p.hw), pixels, strict=True):
            resized_crop(np.asarray(image).reshape(-1), image.width, box, size, out.reshape(-1))
        packed = torch.from_numpy(packing.pack(rest(view, drawn), n))
        made.append(device.render(on_device(view), torch.from_numpy(pixels), packed))
    return made


def by_dali(p: Pictures) -> list[Tensor]:
    """DALI as far as it follows the draws, the device from there."""
    n, made = len(p.images), []
    renderer = dali.Renderer(p.views, n)
    parts = renderer(p.jpegs, p.hw, p.draws)
    for view, drawn, x, finished in zip(p.views, p.draws, parts, renderer.finished, strict=True):
        left = torch.from_numpy(packing.pack(dali.rest(view, drawn), n))
        made.append(x.clone() if finished else device.render(dali.split(view)[1], x, left))
    return made


RENDERERS: dict[str, Callable[[Pictures], list[Tensor]]] = {
    "reference": by_reference,
    "device": by_device,
    "dali": by_dali,
}


def pictures(options: Look) -> tuple[Pictures, list[str]]:
    """The rows that were asked for, with their draws, and a caption each."""
    manifest, views = Manifest.open(options.data), views_of(options.views, options.size)
    rows = rows_of(options.ids, len(manifest))
    reader = open_reader(options.loader, manifest)
    data = [reader.read(int(row)) for row in rows]
    images = [Image.fromarray(d if isinstance(d, np.ndarray) else simplejpeg.decode_jpeg(d)) for d in data]
    jpegs = [d if isinstance(d, bytes) else simplejpeg.encode_jpeg(d, 100, colorsubsampling="444") for d in data]
    key = {"seed": options.seed, "epoch": options.epoch}
    draws = [draw(v, manifest.uid[rows], manifest.hw[rows], number=i, **key) for i, v in enumerate(views)]
    return Pictures(views, jpegs, images, draws), [f"{row} {manifest.keys[row].rpartition('/')[2]}" for row in rows]


def shown(view: View, x: Tensor) -> np.ndarray:
    """[3, S, S] normalized -> [S, S, 3] levels."""
    norm = next(op for op in view if isinstance(op, Normalize))
    x = x.float() * torch.tensor(norm.std).view(3, 1, 1) + torch.tensor(norm.mean).view(3, 1, 1)
    return (x * 255).clamp(0, 255).permute(1, 2, 0).numpy()


def original(image: Image.Image, box: np.ndarray, side: int) -> Image.Image:
    """The image in a square of `side` px, with the view's box."""
    page = image.copy()
    top, left, height, width = box.tolist()
    pen = ImageDraw.Draw(page)
    pen.rectangle((left, top, left + width - 1, top + height - 1), outline=BOX, width=max(2, image.width // 100))
    page.thumbnail((side, side))
    square = Image.new("RGB", (side, side), "white")
    square.paste(page, ((side - page.width) // 2, (side - page.height) // 2))
    return square


def sheet(options: Look) -> Image.Image:
    """A row an image and view: the original, each renderer, and its difference from the first."""
    names = options.renderers or tuple(n for n in RENDERERS if n != "dali" or find_spec("nvidia.dali"))
    p, captions = pictures(options)
    made = {name: RENDERERS[name](p) for name in names}
    side = max(options.size, 96)
    step, tall = side + EDGE, side + HEAD
    page = Image.new("RGB", (2 * len(names) * step, tall * len(captions) * len(p.views)), "white")
    pen = ImageDraw.Draw(page)
    places = [(i, n) for i in range(len(captions)) for n in range(len(p.views))]
    for y, (i, n) in zip(range(0, page.height, tall), places, strict=True):
        view, box = p.views[n], crop_params(p.views[n], p.draws[n], p.hw)[i, :4]
        tiles = [(f"view {n} of {captions[i]}", original(p.images[i], box, side))]
        first = shown(view, made[names[0]][n][i])
        for name in names:
            levels = shown(view, made[name][n][i])
            tiles.append((name, Image.fromarray((levels + 0.5).astype(np.uint8))))
            if name != names[0]:
                gap = np.abs(levels - first)
                loud = Image.fromarray((gap * LOUDER).clip(0, 255).astype(np.uint8))
                tiles.append((f"gap {gap.mean():.2f}, most {gap.max():.0f} (x {LOUDER})", loud))
        for at, (text, tile) in enumerate(tiles):
            page.paste(tile.resize((side, side), Image.Resampling.NEAREST), (at * step, y + HEAD))
            pen.text((at * step + 2, y + 2), text[: side // LETTER], "black")
    return page


def brief(op: Op) -> str:
    """`ColorJitter 0.4 0.4 0.4 0.1 p 0.8`: what differs from the usual, in a line's room."""
    said = [type(op).__name__]
    for field in fields(op):
        value = getattr(op, field.name)
        if field.name in ("ratio", "filter", "mean", "std", "threshold") and value == field.default:
            continue
        if isinstance(value, tuple):
            value = ("-" if len(value) == 2 else ",").join(f"{v:g}" for v in value)
        said.append(f"p {value:g}" if field.name == "p" else value if isinstance(value, str) else f"{value:g}")
    return " ".join(said)


def words(ops: tuple[Op, ...]) -> str:
    return " ".join(type(op).__name__ for op in ops) or "-"


def listing() -> str:
    """Every recipe: its views, their ops in order, and what DALI leaves to the device renderer."""
    lines = []
    for name in VIEWS:
        lines.append(f"{name}: {(VIEWS[name].__doc__ or '').splitlines()[0]}")
        views = views_of(name)
        for view in dict.fromkeys(views):
            there, left = dali.split(view)
            lines.append(f"    {views.count(view)} x  {', '.join(map(brief, built_in_ops(view)))}")
            lines.append(f"         DALI: {words(there)}; the device renderer behind it: {words(left)}")
    return "\n".join(lines)


def main() -> None:
    (options,) = parse(Look(), description=__doc__ or "")
    if options.list:
        print(listing())
        return
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
