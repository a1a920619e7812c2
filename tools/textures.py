"""Make a folder of texture images, laid out as ImageNet, on which a self-supervised run measurably learns.

Twelve classes differ in pattern alone: angle, scale, phase and aspect ratio are random, and all classes share four
color pairs. With random colors, contrastive learning would identify an image by its color and learn nothing about
patterns.

  python tools/textures.py --out data/textures --train 250 --val 50
"""

import math
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from viewstream.shards.cli import parse, run

# isort: split
import numpy as np
import simplejpeg
from PIL import Image

from viewstream.shards.engine import cores
from viewstream.shards.errors import UserError
from viewstream.shards.files import partial_path, place
from viewstream.shards.progress import Bar

CLASSES = (
    "bricks",
    "checks",
    "crosses",
    "dartboard",
    "dots",
    "grid",
    "noise",
    "rings",
    "spirals",
    "stripes",
    "triangles",
    "waves",
)
COLORS = np.array(
    [
        [[200, 60, 50], [240, 230, 200]],
        [[40, 70, 160], [220, 220, 120]],
        [[30, 110, 60], [230, 180, 190]],
        [[40, 40, 45], [210, 210, 205]],
    ],
    np.float32,
)


@dataclass(frozen=True)
class Textures:
    """What to make"""

    out: Annotated[str, "new folder, for train/<class>/*.JPEG and val/<class>/*.JPEG"] = "data/textures"
    train: Annotated[int, "training images per class", 0] = 250
    val: Annotated[int, "validation images per class", 0] = 50
    seed: Annotated[int, "seed of all random values"] = 0


def pattern(name: str, u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The pattern of class `name` at coordinates u, v [H, W] in periods: [H, W], values about 0..1."""
    fu, fv = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5  # position inside the cell
    match name:
        case "bricks":
            row = np.floor(2 * v)
            along = u + row / 2
            return (along - np.floor(along) < 0.1) | (2 * v - row < 0.2)
        case "checks":
            return fu * fv > 0
        case "crosses":
            bars = np.minimum(np.maximum(4 * abs(fu), abs(fv)), np.maximum(abs(fu), 4 * abs(fv)))
            return bars < 0.4
        case "dartboard":
            return (np.sin(2 * np.pi * np.hypot(u, v)) > 0) ^ (np.sin(8 * np.arctan2(v, u)) > 0)
        case "dots":
            return np.hypot(fu, fv) < 0.3
        case "grid":
            return np.minimum(abs(fu), abs(fv)) < 0.08
        case "noise":
            coarse = rng.normal(size=(int(np.ptp(v)) * 3 + 4, int(np.ptp(u)) * 3 + 4)).astype(np.float32)
            return 0.5 + 0.3 * np.asarray(Image.fromarray(coarse).resize(u.shape[::-1], Image.Resampling.BICUBIC))
        case "rings":
            return (np.sin(2 * np.pi * np.hypot(u, v)) + 1) / 2
        case "spirals":
            arms = int(rng.integers(3, 7))
            return (np.sin(arms * np.arctan2(v, u) + 2 * np.pi * np.hypot(u, v)) + 1) / 2
        case "stripes":
            return (np.sin(2 * np.pi * u) + 1) / 2
        case "triangles":
            return fu > fv
        case "waves":
            return (np.sin(2 * np.pi * (u + 0.4 * np.sin(2 * np.pi * 0.7 * v))) + 1) / 2
    raise AssertionError(name)


def texture(name: str, rng: np.random.Generator) -> np.ndarray:
    """One image of class `name`: [H, W, 3] uint8, long side 300 to 500 px, aspect from 2:3 to 3:2."""
    side, aspect = int(rng.integers(300, 501)), (3 / 2) ** rng.uniform(-1, 1)
    height, width = int(side * min(1, aspect)), int(side * min(1, 1 / aspect))
    turn, period = rng.uniform(0, 2 * math.pi), side * rng.uniform(0.14, 0.26)
    x = (np.arange(width, dtype=np.float32) - rng.uniform(0, width))[None] / period
    y = (np.arange(height, dtype=np.float32) - rng.uniform(0, height))[:, None] / period
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    mixed = pattern(name, u, v, rng).astype(np.float32)
    shade = rng.random((height, width), np.float32) * 40 - 20  # grain, plus light from one side
    shade += np.asarray(Image.fromarray(rng.uniform(-50, 50, (2, 2)).astype(np.float32)).resize((width, height)))
    first, second = COLORS[rng.integers(4)] + rng.normal(0, 8, (2, 3)).astype(np.float32)
    out = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        out[..., channel] = (second[channel] + shade + (first - second)[channel] * mixed).clip(0, 255)
    return out


def write(options: Textures, job: tuple[str, str, int]) -> None:
    """Write one JPEG, a pure function of the seed and of the job: split, class and number."""
    split, name, number = job
    rng = np.random.default_rng([options.seed, split == "val", CLASSES.index(name), number])
    path = partial_path(Path(options.out)) / split / name / f"{name}_{number:05d}.JPEG"
    path.write_bytes(simplejpeg.encode_jpeg(texture(name, rng), quality=90))


def jobs(options: Textures) -> Iterator[tuple[str, str, int]]:
    """Split, class and number of every file to write."""
    for split, count in (("train", options.train), ("val", options.val)):
        for name in CLASSES:
            yield from ((split, name, number) for number in range(count))


def main() -> None:
    (options,) = parse(Textures(), description=__doc__ or "")
    if Path(options.out).exists():
        raise UserError(f"{options.out} already exists: name another --out, or remove it first")
    work, todo = partial_path(Path(options.out)), list(jobs(options))
    shutil.rmtree(work, ignore_errors=True)  # left by a run that was killed
    for split, name in sorted({(split, name) for split, name, _ in todo}):
        (work / split / name).mkdir(parents=True)
    with ProcessPoolExecutor(cores()) as pool:
        written = pool.map(partial(write, options), todo, chunksize=32)
        with Bar(len(todo), "img", "images") as bar:
            for _ in written:
                bar.update()
    place(work, Path(options.out))


if __name__ == "__main__":
    run(main)
