"""What each stage of the host costs on one thread, for suite.py; tools/plan.py computes with these figures.

Stages: reading by reader, decoding by the size of the image, cutting by the size of the view, draws, color work by the
size of the view, and the copy of a batch; whole loaders follow (costs_loaders.py). `about` says what the costs of a
case depend on.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import simplejpeg
import torch

from viewstream.augment.recipes import moco_v2, views_of
from viewstream.augment.renderers import host
from viewstream.augment.spec import Views
from viewstream.pipeline.choose import READERS, open_reader
from viewstream.pipeline.cut.resize import resized_crops, warm_up
from viewstream.pipeline.plan.params import batch_params
from viewstream.shards.manifest import Manifest
from viewstream.tools.bench.augment_cases import ours, squares
from viewstream.tools.bench.measuring.apart import Case
from viewstream.tools.bench.measuring.rounds import compared
from viewstream.tools.bench.parts.costs_loaders import handing_over, kilobytes, loaders
from viewstream.tools.bench.parts.sets import Setting

SIDES, SIZES, QUALITIES = (160, 224, 320, 400, 500), (32, 64, 96, 160, 224), (40, 90)
SAMPLES = 256  # per round and case


def groups(setting: Setting) -> dict[str, Case]:
    """Stages, and whole loaders."""
    stages = (read, decode, cut, draw, color, copy, handing_over, loaders)
    return {stage.__name__: partial(stage, setting) for stage in stages}


def read(setting: Setting) -> dict[str, Any]:
    """One JPEG by each reader."""
    data = setting.set()
    rows = _rows(data)
    readers = {name: open_reader(name, data) for name in READERS if name in data.info.formats}
    todo = {name: partial(_each, rows.tolist() * 8, reader.read) for name, reader in readers.items()}
    about = {name: {"kilobytes": kilobytes(data, rows)} for name in todo}
    return compared(todo, setting.rounds, unit="image", about=about)


def decode(setting: Setting) -> dict[str, Any]:
    """JPEGs of several sizes and qualities from memory: bits and pixels both cost."""
    todo: dict[str, Callable[[int], float]] = {}
    about: dict[str, dict[str, float]] = {}
    for side in SIDES:
        data = setting.set(side, copies=1)
        rows = _rows(data)
        images = [simplejpeg.decode_jpeg(jpeg) for jpeg in _jpegs(data, rows)]
        buffer = np.empty(max(image.size for image in images), np.uint8)
        for quality in QUALITIES:
            jpegs = [simplejpeg.encode_jpeg(image, quality, colorsubsampling="420") for image in images]
            name = f"{side} px, quality {quality}"
            todo[name] = partial(_each, jpegs, partial(simplejpeg.decode_jpeg, buffer=buffer))
            pixels, bits = sum(image.size / 3 for image in images), sum(map(len, jpegs))
            about[name] = {"megapixels": pixels / len(images) / 1e6, "kilobytes": bits / len(images) / 1e3}
    return compared(todo, setting.rounds, unit="image", about=about)


def cut(setting: Setting) -> dict[str, Any]:
    """One MoCo v2 crop per image, of several sizes from images of several sizes."""
    warm_up()
    todo: dict[str, Callable[[int], float]] = {}
    about: dict[str, dict[str, float]] = {}
    for side in SIDES:
        data = setting.set(side, copies=1)
        rows = _rows(data)
        images = [simplejpeg.decode_jpeg(jpeg) for jpeg in _jpegs(data, rows)]
        for size in SIZES:
            boxes = batch_params(data, moco_v2(size)[:1], rows, 0, 0).boxes
            out, sizes, places = np.empty(3 * size * size, np.uint8), np.array([size]), np.zeros(1, np.int64)
            cases = list(zip(images, boxes, strict=True))
            name = f"{size} px of {side} px"
            todo[name] = partial(_each, cases, partial(_cropped, sizes, places, out))
            source = float((boxes[:, 0, 2].astype(int) * boxes[:, 0, 3]).mean())
            about[name] = {"view": size, "megapixels": source / 1e6}
    return compared(todo, setting.rounds, unit="view", about=about)


def draw(setting: Setting) -> dict[str, Any]:
    """All decisions about a batch, by recipe."""
    data = setting.set()
    rows = np.resize(_rows(data), 1024)
    todo: dict[str, Callable[[int], float]] = {}
    for recipe in ("moco_v2", "byol", "swav"):
        views = views_of(recipe, 224)
        todo[recipe] = partial(_drawn, data, views, rows)
    about = {name: {"views": len(views_of(name, 224))} for name in todo}
    return compared(todo, setting.rounds, unit="image", about=about)


def color(setting: Setting, batch: int = 16) -> dict[str, Any]:
    """A MoCo v2 view after its crop, in numba on one thread."""
    torch.set_num_threads(1)
    todo: dict[str, Callable[[int], float]] = {}
    for size in SIZES:
        pixels = torch.from_numpy(squares(str(setting.set().root), batch, size))
        case = ours(pixels, moco_v2(size)[0], host.render)
        todo[f"{size} px"] = partial(_called, 8, batch, case)
    about = {f"{size} px": {"view": size} for size in SIZES}
    return compared(todo, setting.rounds, unit="view", about=about)


def copy(setting: Setting, mib: int = 64) -> dict[str, Any]:
    """A batch from one place of the host's memory to another."""
    source, target = (torch.zeros(mib << 20, dtype=torch.uint8) for _ in range(2))
    return compared({"memory": partial(_called, 4, mib, lambda: target.copy_(source))}, setting.rounds, unit="MiB")


def _rows(data: Manifest) -> np.ndarray:
    """Rows of images spread over the set."""
    return np.linspace(0, len(data) - 1, min(SAMPLES, len(data))).astype(int)


def _jpegs(data: Manifest, rows: np.ndarray) -> list[bytes]:
    with closing(open_reader("webdataset", data)) as reader:
        return [jpeg for row in rows.tolist() if isinstance(jpeg := reader.read(row), bytes)]


def _each(items: Sequence[Any], call: Callable[[Any], Any], number: int) -> float:
    for item in items:
        call(item)
    return len(items)


def _called(calls: int, units: int, case: Callable[[], Any], number: int) -> float:
    for _ in range(calls):
        case()
    return calls * units


def _cropped(sizes: np.ndarray, places: np.ndarray, out: np.ndarray, case: tuple[np.ndarray, np.ndarray]) -> None:
    image, boxes = case
    resized_crops(image.reshape(-1), image.shape[1], boxes, sizes, places, out)


def _drawn(data: Manifest, views: Views, rows: np.ndarray, number: int) -> float:
    for _ in range(4):
        batch_params(data, views, rows, 0, number)
    return 4 * len(rows)
