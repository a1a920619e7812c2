"""Differences between each renderer and PIL and torchvision (augment/renderers/reference.py), in levels of 8 bits.

An op is measured alone, on squares that its view takes whole; crops and recipes are measured on whole images. Without
real images, synthetic ones are used: smooth colors with edges and grain.

  python tools/bench/parity.py --pictures data/imagenet/val --out docs/parity.md
"""

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from viewstream.shards.cli import parse, run

# isort: split
import numpy as np
from PIL import Image

from viewstream.shards.errors import UserError
from viewstream.shards.files import atomic
from viewstream.shards.manifest import Manifest

PLANES = "Planes of JPEGs with halved colors, device renderer"
PLANAR = ("crop bilinear", "moco_v2", "evaluation")  # whose crops are planar; other recipes add the same ops to them


@dataclass(frozen=True)
class Parity:
    """What to measure"""

    data: Annotated[str, "a built data set whose images to use"] = ""
    pictures: Annotated[Path | None, "or a folder of JPEGs, searched to any depth"] = None
    count: Annotated[int, "images, spread evenly over the data set or folder", 1] = 100
    sizes: Annotated[tuple[int, ...], "sides of the (large) views, px", 8] = (32, 96, 224)
    only: Annotated[tuple[str, ...], "ops and recipes to measure (all)"] = ()
    dali: Annotated[bool, "also DALI, if it is installed"] = True
    out: Annotated[Path | None, "Markdown to write"] = None


def load(options: Parity) -> tuple[str, list[np.ndarray]]:
    """A description of the images, and the images, [H, W, 3] uint8 each."""
    if options.data:
        from viewstream.pipeline.choose import open_reader  # with torch, after --help, which needs none

        manifest = Manifest.open(options.data)
        reader = open_reader(manifest.info.formats[0], manifest)
        samples = [reader.read(row) for row in spread(options.count, len(manifest))]
        images = [x.copy() if isinstance(x, np.ndarray) else decoded(io.BytesIO(x)) for x in samples]
        return f"{len(images)} images of {manifest.info.name}", images
    if options.pictures:
        paths = sorted(p for p in options.pictures.rglob("*") if p.suffix.lower() in (".jpeg", ".jpg"))
        if not paths:
            raise UserError(f"{options.pictures} holds no JPEGs: name a folder that does")
        images = [decoded(paths[place]) for place in spread(options.count, len(paths))]
        return f"{len(images)} images", images
    rng = np.random.default_rng(0)
    return f"{options.count} synthetic images", [synthetic(rng) for _ in range(options.count)]


def spread(count: int, total: int) -> list[int]:
    """`count` places (at most all) spread evenly over `total`."""
    return np.linspace(0, total - 1, min(count, total)).astype(int).tolist()


def decoded(file: Path | io.BytesIO) -> np.ndarray:
    with Image.open(file) as image:
        return np.array(image.convert("RGB"))


def synthetic(rng: np.random.Generator) -> np.ndarray:
    """Smooth colors with edges and grain: [H, W, 3] uint8, sides of 40 to 499 px."""
    height, width = rng.integers(40, 500, 2).tolist()
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    edges = 40 * ((np.arange(width) // 23 + np.arange(height)[:, None] // 17) % 2)[..., None]
    return (smooth + edges - 20 + rng.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8)


def main() -> None:
    (options,) = parse(Parity(), description=__doc__ or "")
    if not options.sizes:
        raise UserError("--sizes names no size: give some, as in 32,96,224")

    from viewstream.tools.bench.gaps.measure import chosen, measure_all  # with torch, after --help, which needs none
    from viewstream.tools.bench.gaps.renderers import PlanesCrop, renderers
    from viewstream.tools.bench.gaps.tables import ABOUT, tables, versions

    names, compared = chosen(options.only), renderers(options.dali)
    description, images = load(options)
    images = sorted(images, key=len)  # similar heights together: the device crop pads a batch to its largest image
    gaps = measure_all(names, options.sizes, images, compared)
    if planar := [name for name in names if name in PLANAR]:
        try:
            compared[PLANES] = crop = PlanesCrop(images)
            gaps |= measure_all(planar, options.sizes, crop.shown, {PLANES: crop})
        except UserError as error:
            print(f"planes are left out: {error}", file=sys.stderr)
    found = tables(gaps, options.sizes, compared)
    print(f"{description}: mean / p99 / max of the difference, in levels of 8 bits\n\n{found}")
    if options.out:
        flag = "--dali" if options.dali else "--no-dali"
        with atomic(options.out, "w") as file:
            file.write(ABOUT.format(images=description, count=options.count, dali=flag, versions=versions()) + found)


if __name__ == "__main__":
    run(main)
