"""The builder and static sets for suite.py, against `cp`, bare codecs, plain loops and the writers of others."""

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from viewstream.pipeline.static.images import chosen
from viewstream.shards.engine import cores
from viewstream.shards.errors import installed
from viewstream.tools.bench import build_cases, static
from viewstream.tools.bench.build import copy_images
from viewstream.tools.bench.measuring.apart import Case
from viewstream.tools.bench.measuring.rounds import compared
from viewstream.tools.bench.parts.sets import Setting

CODECS = "bare codecs, one core"


def groups(setting: Setting) -> dict[str, Case]:
    """Storing images as they are, storing them smaller, and static sets."""
    return {
        "images stored as they are": partial(stored, setting, "cp", "keep"),
        "images stored at 400 px": partial(stored, setting, CODECS, "400 px"),
        "static sets of two MoCo v2 views": partial(static_sets, setting),
    }


def stored(setting: Setting, floor: str, kind: str) -> dict[str, Any]:
    """Ways to store a folder, each from its start to its end, workers included; in memory where /dev/shm is."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None, prefix="viewstream-") as scratch:
        source, out = Path(scratch) / "images", Path(scratch) / "out"
        paths = copy_images(setting.originals(), 1 if setting.quick or kind != "keep" else 4, source)
        every = build_cases.cases(paths, source, cores(), installed("ffcv") and installed("webdataset"))
        peers = [name for name in every if "Writer" in name and kind in name]
        todo = {name: partial(_into, out, len(paths), every[name]) for name in every if kind in name or name == floor}
        more = {"workers": cores(), "images": setting.source}
        return compared(todo, 2 if setting.quick else 3, unit="image", floor=floor, peers=peers, **more)


def static_sets(setting: Setting, per_class: int = 120) -> dict[str, Any]:
    """Two views of each image as JPEGs, against a loop of torchvision on PIL in one process."""
    data = setting.set()
    options = static.Bench(data=data.root, per_class=8 if setting.quick else per_class)
    images = len(chosen(data, options.per_class))
    with tempfile.TemporaryDirectory(prefix="viewstream-") as scratch:
        into = partial(_into, Path(scratch) / "out", images)
        todo: dict[str, Callable[[int], float]] = {"plain loop": partial(into, partial(static.plain_loop, options))}
        for workers in sorted({1, cores()}):
            todo[f"make_static, {workers} workers"] = partial(into, partial(static.ours, options, workers))
        rounds = 2 if setting.quick else 3
        return compared(todo, rounds, unit="image", floor="plain loop", images=setting.source)


def _into(out: Path, images: int, case: Callable[[Path], Any], number: int) -> float:
    """Run a case into the new folder `out`, which is removed before the next one."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    case(out)
    return images
