"""Staging for suite.py: against `cp`, a sync and `sha256sum`, and reads of a staged set against those of the set."""

import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from viewstream.pipeline.batch import SampleReader
from viewstream.pipeline.choose import open_reader
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.readers.stage import Form, Stage, staged_set, staging
from viewstream.pipeline.reading import Reading
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.files import make_folder
from viewstream.shards.manifest import Manifest
from viewstream.tools.bench.build import copy_images
from viewstream.tools.bench.measuring.apart import Case
from viewstream.tools.bench.measuring.rounds import compared
from viewstream.tools.bench.parts.sets import Setting

ROOM = 10**12
BATCH = 256
KEPT = 9 * 10**8  # bytes of images, about


def groups(setting: Setting) -> dict[str, Case]:
    """Copies of tars and of a .beton, and reads of both."""
    return {
        **{f"staging of {name}": partial(copies, setting, form) for form, name in NAMES.items()},
        **{f"reads of {name}": partial(reads, setting, form) for form, name in NAMES.items()},
    }


NAMES: dict[Form, str] = {"webdataset": "tars", "ffcv": "a .beton"}


def built(setting: Setting, folder: Path) -> Manifest:
    """A set of the images as they are, copied to about KEPT bytes."""
    size = sum(path.stat().st_size for path in setting.originals().rglob("*") if path.is_file())
    copy_images(setting.originals(), 1 if setting.quick else max(1, KEPT // size), folder / "images")
    source, out = folder / "images", folder / "set"
    return build(BuildOptions(source=source, out=out, format=("webdataset", "ffcv"), shard_size="100MB", keep=True))


def copies(setting: Setting, form: Form) -> dict[str, Any]:
    """A set in the page cache is copied to the same disk and checked; the bytes of both are on the disk at the end."""
    with tempfile.TemporaryDirectory(dir=setting.work, prefix="stage-") as scratch:
        data, out = built(setting, Path(scratch)), Path(scratch) / "out"
        files = staged_set(data, form, Stage(out, ROOM))
        paths = [str(data.root / line["file"]) for line in files.lines]
        megabytes = sum(line["bytes"] for line in files.lines) / 1e6

        def plain(number: int) -> float:
            _empty(out)
            subprocess.run(["cp", *paths, str(out)], check=True)
            there = [str(out / Path(path).name) for path in paths]
            subprocess.run(["sync", *there], check=True)
            subprocess.run(["sha256sum", *there], check=True, stdout=subprocess.DEVNULL)
            return megabytes

        def ours(number: int) -> float:
            _empty(out)
            assert not [*staging(files)]
            return megabytes

        floor = "cp, sync, sha256sum"
        return compared(
            {floor: plain, "staging": ours},
            setting.rounds,
            unit="MB",
            floor=floor,
            images=setting.source,
            files=len(paths),
        )


def reads(setting: Setting, form: Form) -> dict[str, Any]:
    """Batches of samples in a random order, without decoding, from a set and from its staged files."""
    with tempfile.TemporaryDirectory(dir=setting.work, prefix="stage-") as scratch, ExitStack() as stack:
        data, stage = built(setting, Path(scratch)), Stage(Path(scratch) / "out", ROOM)
        assert not [*staging(staged_set(data, form, stage))]
        plan = Plan(len(data), 16 if setting.quick else BATCH)
        where = {"a set": None, "a staged set": stage}
        readers = {name: stack.enter_context(open_reader(form, data, stage=place)) for name, place in where.items()}
        todo = {name: partial(_read, reader, plan) for name, reader in readers.items()}
        return compared(todo, setting.rounds, unit="sample", floor="a set", images=setting.source)


def _read(reader: SampleReader, plan: Plan, number: int) -> float:
    """One epoch in the order of this round."""
    count = 0
    for step in plan.steps(number):
        count += len(Reading(reader, np.asarray(step.rows))(range(len(step.rows))))
    return count


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder)
