"""Builds on Ray for suite.py, against the local engine; both store the same bytes."""

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from viewstream.shards.building.cluster import connected
from viewstream.shards.engine import cores
from viewstream.shards.errors import installed
from viewstream.tools.bench.build import copy_images
from viewstream.tools.bench.build_cases import ours
from viewstream.tools.bench.measuring.apart import Case
from viewstream.tools.bench.measuring.rounds import compared
from viewstream.tools.bench.parts.sets import Setting

LOCAL, RAY = "build on the local engine", "build on Ray"
COPIES = 80  # of each image: builds of a minute


def groups(setting: Setting) -> dict[str, Case]:
    """The same build by both engines."""
    return {"images stored at 400 px by two engines": partial(engines, setting)}


def engines(setting: Setting) -> dict[str, Any]:
    """From the start of a build to its end. Ray runs before: its start is not counted, that of local processes is."""
    rounds, more = 1 if setting.quick else 2, {"workers": cores(), "images": setting.source}
    with tempfile.TemporaryDirectory(prefix="viewstream-") as scratch:
        source, out = Path(scratch) / "images", Path(scratch) / "out"
        images = len(copy_images(setting.originals(), 1 if setting.quick else COPIES, source))
        todo = {LOCAL: partial(_built, source, out, images, "local")}
        if not installed("ray"):
            absent = "ray is not installed: the extra 'cluster' brings it"
            return compared(todo, rounds, unit="image", floor=LOCAL, left_out={RAY: absent}, **more)
        todo[RAY] = partial(_built, source, out, images, "ray")
        with connected("", cores()):
            return compared(todo, rounds, unit="image", floor=LOCAL, **more)


def _built(source: Path, out: Path, images: int, engine: str, number: int) -> float:
    """One build into a new folder, of which each core gets many tars."""
    shutil.rmtree(out, ignore_errors=True)
    ours(source, cores(), out, engine=engine, shard_size="8MB")
    return images
