"""How far each renderer's pixels are from PIL and torchvision (augment/renderers/reference.py), in levels of 8 bits.

An op is measured alone, on squares that its view cuts out as they are; crops and recipes on whole images. Synthetic
images, smooth colors with edges and grain, stand in where no real ones are named.

  python tools/bench/parity.py --pictures data/imagenet/val --out docs/parity.md
"""

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from viewstream.augment.crops import crop_params, on_device, rest
from viewstream.augment.draw import Draws, draw
from viewstream.augment.recipes import VIEWS
from viewstream.augment.renderers import device, host, packing, reference, resample
from viewstream.augment.spec import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Normalize,
    Op,
    RandomResizedCrop,
    Solarize,
    View,
    size_of,
)
from viewstream.augment.spec import ResizeCenterCrop as Centre
from viewstream.pipeline.choose import open_reader
from viewstream.pipeline.cut.resize import resized_crop
from viewstream.shards.cli import parse, run
from viewstream.shards.errors import UserError, choose
from viewstream.shards.files import atomic
from viewstream.shards.manifest import Manifest

Images = list[np.ndarray]  # [H, W, 3] uint8 each
# Row i of the draws is image i's -> [N, 3, S, S] float32, normalized
Renderer = Callable[[View, Images, Draws], Tensor]
TOGETHER = 5  # images rendered at a time
COLOURS: dict[str, Op] = {"brightness": ColorJitter(0.4, 0, 0, 0), "contrast": ColorJitter(0, 0.4, 0, 0),
                          "saturation": ColorJitter(0, 0, 0.4, 0), "hue": ColorJitter(0, 0, 0, 0.1)}  # fmt: skip
OPS = {"flip": HorizontalFlip(p=1), "grey": Grayscale(p=1), **COLOURS, "jitter": ColorJitter(0.4, 0.4, 0.4, 0.1),
       "blur": GaussianBlur(p=1), "solarize": Solarize(p=1)}  # fmt: skip
EXACT = 1e-3  # what float arithmetic may leave of no gap
MEAN = {"flip": EXACT, "solarize": EXACT, "grey": 0.5, "blur": 0.7, **dict.fromkeys(COLOURS, 1.0), "moco_v2": 1.5,
        "byol view 1": 1.7, "byol view 2": 1.7}  # fmt: skip
CUT_MEAN, CUT_MOST, DALI_MEAN, VIEW_P99 = 0.3, 2.0, 0.5, 8.0


class Gap(NamedTuple):
    """Absolute differences of all values of all images, in levels."""

    mean: float
    p99: float
    most: float


@dataclass(frozen=True)
class Parity:
    """What to measure"""

    data: Annotated[str, "a built data set whose images to use"] = ""
    pictures: Annotated[Path | None, "or a folder of JPEGs, searched to any depth"] = None
    count: Annotated[int, "images, spread evenly over what is there", 1] = 100
    sizes: Annotated[tuple[int, ...], "sides of the (large) views, px", 8] = (32, 96, 224)
    only: Annotated[tuple[str, ...], "ops and recipes to measure (all)"] = ()
    dali: Annotated[bool, "also DALI, where it is installed"] = True
    out: Annotated[Path | None, "Markdown to write"] = None


def pictures(options: Parity) -> tuple[str, Images]:
    """What they are, in words, and the images."""
    if not options.data and options.pictures is None:
        rng = np.random.default_rng(0)
        return f"{options.count} synthetic images", [synthetic(rng) for _ in range(options.count)]
    if options.data:
        manifest = Manifest.open(options.data)
        reader = open_reader(manifest.info.formats[0], manifest)
        rows = np.linspace(0, len(manifest) - 1, min(options.count, len(manifest))).astype(int).tolist()
        read = [reader.read(row) for row in rows]
        images = [x.copy() if isinstance(x, np.ndarray) else opened(io.BytesIO(x)) for x in read]
        return f"{len(images)} images of {manifest.info.name}", images
    paths = sorted(p for p in Path(options.pictures or "").rglob("*") if p.suffix.lower() in (".jpeg", ".jpg"))
    if not paths:
        raise UserError(f"{options.pictures} holds no JPEGs: name a folder that does")
    rows = np.linspace(0, len(paths) - 1, min(options.count, len(paths))).astype(int).tolist()
    return f"{len(rows)} pictures", [opened(paths[row]) for row in rows]


def opened(file: Path | io.BytesIO) -> np.ndarray:
    with Image.open(file) as image:
        return np.array(image.convert("RGB"))


def synthetic(rng: np.random.Generator) -> np.ndarray:
    height, width = rng.integers(40, 500, 2).tolist()
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    edges = 40 * ((np.arange(width) // 23 + np.arange(height)[:, None] // 17) % 2)[..., None]
    return (smooth + edges - 20 + rng.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8)


def host_crop(view: View, images: Images, draws: Draws) -> Tensor:
    """The numba kernel cuts, the device renderer does the rest."""
    return coloured(view, host_cut(view, images, draws), draws)


def host_cut(view: View, images: Images, draws: Draws) -> Tensor:
    size = size_of(view)
    pixels = np.empty((len(images), size, size, 3), np.uint8)
    for image, box, out in zip(images, crop_params(view, draws, sides(images)), pixels, strict=True):
        resized_crop(image.reshape(-1), image.shape[1], box, size, out.reshape(-1))
    return torch.from_numpy(pixels)


def host_both(view: View, images: Images, draws: Draws) -> Tensor:
    """The numba kernels cut and render."""
    return coloured(view, host_cut(view, images, draws), draws, host.render)


def device_crop(view: View, images: Images, draws: Draws) -> Tensor:
    """Matrix products cut, the device renderer does the rest."""
    boxes = torch.from_numpy(crop_params(view, draws, sides(images)))
    return coloured(view, resample.resized_crop(torch.from_numpy(resample.canvas(images)), boxes, size_of(view)), draws)


def coloured(view: View, pixels: Tensor, draws: Draws, render: Callable[..., Tensor] = device.render) -> Tensor:
    return render(on_device(view), pixels, torch.from_numpy(packing.pack(rest(view, draws), len(pixels))))


def dali(view: View, images: Images, draws: Draws) -> Tensor:
    """DALI cuts and does what it can say as PIL does; it gets PPM files, so no decoder adds to the gap."""
    from viewstream.augment.renderers import dali, dali_graph

    files = [b"P6 %d %d 255\n" % image.shape[1::-1] + image.tobytes() for image in images]
    (made,) = dali.Renderer((view,), len(images), threads=1)(files, sides(images), [draws])
    left = dali_graph.split(view)[1]
    packed = torch.from_numpy(packing.pack(dali.rest(view, draws), len(images)))
    return device.render(left, made, packed) if left else made


def sides(images: Images) -> np.ndarray:
    return np.array([image.shape[:2] for image in images])


def renderers(options: Parity) -> dict[str, Renderer]:
    """Each by its name in the tables: here another one joins."""
    made: dict[str, Renderer] = {
        "Host kernel, device renderer": host_crop,
        "Host kernel, host renderer": host_both,
        "Device crop, device renderer": device_crop,
    }
    if options.dali and find_spec("nvidia") and find_spec("nvidia.dali"):
        made["DALI (CPU), device renderer behind it"] = dali
    return made


def cases(size: int) -> dict[str, View]:
    """Name -> view; the different views of a recipe are numbered."""
    made: dict[str, View] = {
        f"crop {f}": (RandomResizedCrop(size, filter=f), Normalize()) for f in ("bilinear", "bicubic")
    }
    made |= {name: (Centre(size, size), op, Normalize()) for name, op in OPS.items()}
    for name, recipe in VIEWS.items():
        views = list(dict.fromkeys(recipe(size)))
        made |= {f"{name} view {n}" if len(views) > 1 else name: view for n, view in enumerate(views, 1)}
    return made


def measure(view: View, images: Images, todo: dict[str, Renderer]) -> dict[str, Gap]:
    """The gaps of each renderer, from the same draws."""
    std = next(torch.tensor(op.std).view(3, 1, 1) for op in view if isinstance(op, Normalize))
    gaps: dict[str, list[Tensor]] = {name: [] for name in todo}
    for at in range(0, len(images), TOGETHER):
        part = images[at : at + TOGETHER]
        draws = draw(view, np.arange(at, at + len(part), dtype=np.uint64), sides(part), seed=0, epoch=0, number=0)
        right = torch.stack([reference.render(view, Image.fromarray(x), draws, i) for i, x in enumerate(part)])
        for name, render in todo.items():
            gaps[name].append(((render(view, part, draws) - right).abs() * std * 255).flatten())
    found = {name: torch.cat(parts).numpy() for name, parts in gaps.items()}
    return {n: Gap(float(g.mean(dtype=float)), float(np.percentile(g, 99)), float(g.max())) for n, g in found.items()}


def limits(name: str, view: View, by: Renderer) -> Gap:
    """What we hold a renderer to; infinite where we have no bound."""
    plain = (
        all(isinstance(op, RandomResizedCrop | Centre | HorizontalFlip | Normalize) for op in view) and name not in OPS
    )
    cut = (DALI_MEAN, np.inf) if by is dali else (CUT_MEAN, CUT_MOST)
    mean, most = cut if plain else (MEAN.get(name, np.inf), np.inf)
    return Gap(mean, VIEW_P99 if name in VIEWS or " view " in name else np.inf, most)


def cell(gap: Gap, limit: Gap) -> str:
    """`mean / p99 / max`, bold where it is over a limit."""
    text = f"{gap.mean:.2f} / {gap.p99:.1f} / {gap.most:.1f}"
    return text if all(g <= most + EXACT for g, most in zip(gap, limit, strict=True)) else f"**{text}**"


def bound(limit: Gap) -> str:
    known = zip(("mean", "p99", "max"), limit, strict=True)
    return ", ".join(f"{word} {0 if most == EXACT else most:g}" for word, most in known if most < np.inf)


def tables(options: Parity, images: Images) -> str:
    """A Markdown table a renderer: rows are ops, crops and views, columns sizes."""
    todo, rows = renderers(options), cases(options.sizes[0])
    wanted = [choose("op or recipe", word, [*OPS, "crop", *VIEWS]) for word in options.only]
    names = [name for name in rows if not wanted or name.split()[0] in wanted]
    cells: dict[str, dict[str, list[str]]] = {renderer: {name: [] for name in names} for renderer in todo}
    known: dict[tuple[View, bool], dict[str, Gap]] = {}  # several recipes share a view
    for size in options.sizes:
        resized = [np.array(Image.fromarray(x).resize((size, size), Image.Resampling.BILINEAR)) for x in images]
        for name in names:
            print(f"\r{size:4d} px: {name:<24}", end="", file=sys.stderr, flush=True)
            view, alone = cases(size)[name], name in OPS
            if (view, alone) not in known:
                known[view, alone] = measure(view, resized if alone else images, todo)
            for renderer, gap in known[view, alone].items():
                cells[renderer][name].append(cell(gap, limits(name, view, todo[renderer])))
    print("\r", end="", file=sys.stderr)
    return "\n".join(
        f"## {renderer}\n\n"
        + markdown(options.sizes, lines, {name: bound(limits(name, rows[name], todo[renderer])) for name in names})
        for renderer, lines in cells.items()
    )


def markdown(sizes: tuple[int, ...], lines: dict[str, list[str]], held: dict[str, str]) -> str:
    head = ["", *(f"{size} px" for size in sizes), "held to"]
    rows = [head, ["---"] * len(head), *([name, *row, held[name]] for name, row in lines.items())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


ABOUT = """# Parity

Absolute differences to PIL and torchvision (`augment/renderers/reference.py`) over all values of {images},
in levels of 8 bits:
mean / 99th percentile / maximum. Bold: more than we hold ourselves to. An op stands alone, on squares that are cut out
as they are, and always on; crops and recipes work on whole images. Small views stand at their large view's size.

The reference rounds to 8 bits after every op and shifts hues in 8-bit HSV, which alone costs up to 15 levels; ours
rounds once, after the cut. Largest differences are single values: a rounding that tips a solarized pixel over its
threshold inverts it, and PIL extends the border again before each of a blur's three passes. DALI repeats the edge of a
box where PIL drops the filter's taps, which shows in the outermost pixels alone; inside they differ by a level or two.
Of a small view at 32 px, which is 14 px wide, that ring is every fourth pixel.

    python tools/bench/parity.py --pictures FOLDER --count {count} {dali} --out docs/parity.md

"""


def main() -> None:
    (options,) = parse(Parity(), description=__doc__ or "")
    if not options.sizes:
        raise UserError("--sizes names none: name some, as in 32,96,224")
    words, images = pictures(options)
    found = tables(options, sorted(images, key=len))  # like sizes together: the device crop pads to the largest
    print(f"{words}: mean / p99 / max of the difference, in levels of 8 bits\n\n{found}")
    if options.out:
        with atomic(options.out, "w") as file:
            file.write(
                ABOUT.format(images=words, count=options.count, dali="--dali" if options.dali else "--no-dali") + found
            )


if __name__ == "__main__":
    run(main)
