"""Whole loaders for costs.py: one that has next to nothing to do, and real ones, which a plan must predict."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from viewstream.augment.recipes import moco_v2, views_of
from viewstream.pipeline.choose import open_loader
from viewstream.pipeline.loader import ViewLoader
from viewstream.pipeline.options import LoaderOptions
from viewstream.pipeline.plan.order import Plan
from viewstream.shards.formats.reader import SampleReader
from viewstream.shards.manifest import Manifest
from viewstream.shards.memory import in_memory
from viewstream.tools.bench.measuring.rounds import compared
from viewstream.tools.bench.parts.sets import Setting

LOADERS = (  # longest side of the images, recipe, size of its large views, threads
    (400, "moco_v2", 224, 1),
    (400, "moco_v2", 224, 2),
    (400, "swav", 224, 2),
    (500, "moco_v2", 224, 1),
    (320, "byol", 160, 2),
    (224, "moco_v2", 96, 1),
    (160, "moco_v2", 32, 2),
)


def handing_over(setting: Setting, side: int = 16, samples: int = 8192) -> dict[str, Any]:
    """A whole loader of stored images of 16 px, which takes no time to read, decode or cut: draws, tasks, batches."""
    image = np.zeros((side, side, 3), np.uint8)
    keys = [str(row) for row in range(samples)]
    data = in_memory("pixels", keys, np.zeros(samples, int), np.full((samples, 2), side), ["all"])
    options = LoaderOptions(threads=1)
    loader = ViewLoader(data, Plan(samples, 256), moco_v2(side), Stored(image), options)
    return compared({"two views of 16 px": partial(_epoch, loader)}, setting.rounds, unit="image")


class Stored(SampleReader):
    """A reader that has one image."""

    def __init__(self, image: np.ndarray):
        self.image = image

    def read(self, row: int) -> np.ndarray:
        return self.image

    def locate(self, row: int) -> str:
        return f"sample {row}"


def loaders(setting: Setting) -> dict[str, Any]:
    """Whole loaders: the host's work with all views cropped, by the images' longest side, the recipe and threads."""
    todo: dict[str, Callable[[int], float]] = {}
    about: dict[str, dict[str, Any]] = {}
    for side, recipe, size, threads in LOADERS[:2] if setting.quick else LOADERS:
        data, views = setting.set(side, copies=1), views_of(recipe, size)
        loader = open_loader("webdataset", data, Plan(len(data), 32), views, threads=threads)
        assert isinstance(loader, ViewLoader)
        name = f"{recipe} of {size} px, images of {side} px, {threads} threads"
        todo[name] = partial(_epoch, loader)
        pixels = float((data.height.astype(float) * data.width).mean()) / 1e6
        about[name] = {"side": side, "recipe": recipe, "size": size, "threads": threads, "megapixels": pixels}
        about[name] |= {"kilobytes": kilobytes(data, np.arange(len(data)))}
    return compared(todo, setting.rounds, unit="image", about=about)


def kilobytes(data: Manifest, rows: np.ndarray) -> float:
    """The mean size of the JPEGs of `rows` [N]."""
    return float(data.bytes[rows].mean()) / 1e3


def _epoch(loader: ViewLoader, number: int) -> float:
    with closing(loader.host_batches(number)) as batches:
        return sum(len(batch.index) for batch in batches)
