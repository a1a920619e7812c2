"""Hostile input: whatever a source holds, a build ends in a whole set or in one line that names what is damaged.

Each case is a damaged source of six images (hostile/), built under both policies of --on-error. Its generator is
seeded by its name, so a case that fails can be run again alone.
"""

import os
import random
import signal
import stat
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import simplejpeg

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.care.verify import verify
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest
from viewstream.shards.subsets.options import SubsetOptions

from .hostile.lists import lists, subsets
from .hostile.pictures import pictures
from .hostile.source import Laid
from .hostile.tables import parquet, tsv
from .hostile.tars import ilsvrc, webdataset
from .hostile.trees import trees

SECONDS = 120  # a build of six images that takes longer hangs
QUICK = 12  # cases of a kind that the short run takes
KINDS = (pictures, trees, webdataset, ilsvrc, tsv, parquet, lists, subsets)
CASES = {kind.__name__: list(kind()) for kind in KINDS}


def params() -> Iterator[Any]:
    for kind, cases in CASES.items():
        step = max(1, len(cases) // QUICK)
        for number, (name, lay) in enumerate(cases):
            marks = [] if number % step == 0 else [pytest.mark.full]
            yield pytest.param(
                f"{kind}-{name}", lay, id=f"{kind}-{name}".encode("unicode_escape").decode(), marks=marks
            )


def look(root: Path) -> dict[str, tuple[int, int, int]]:
    """Everything under a folder but the set itself and the index that a TSV may get."""
    found = {}
    for folder, dirs, files in os.walk(root):
        if Path(folder) == root and "out" in dirs:
            dirs.remove("out")
        for name in [*dirs, *files]:
            path = Path(folder) / name
            status = path.lstat()
            if path.suffix != ".lineidx":
                found[str(path)] = (
                    status.st_mode,
                    status.st_size,
                    0 if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns,
                )
    return found


def tried(laid: Laid, out: Path, policy: str, workers: int = 1) -> Manifest | UserError:
    """A build, or its refusal; one that hangs is stopped."""

    def stop(*_: object) -> None:
        pytest.fail(f"the build hangs: {SECONDS} s have passed")

    options: dict[str, Any] = {
        "max_side": 32,
        "format": ("webdataset",),
        "workers": workers,
        **laid.options,
        "on_error": policy,
    }
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        return build(BuildOptions(source=laid.source, out=out, **options), SubsetOptions(laid.subset))
    except UserError as error:
        return error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def hold(laid: Laid, tmp_path: Path, policies: tuple[str, ...] = ("fail", "skip"), workers: int = 1) -> None:
    before = look(tmp_path)
    for policy in policies:
        out = tmp_path / "out" / policy
        made = tried(laid, out, policy, workers)
        assert look(tmp_path) == before
        if isinstance(made, UserError):
            assert not (out / "dataset.json").exists()
            assert policy == "skip" or not out.exists()
            if policy == "skip" and "images are damaged, the first by" in str(made):
                continue
            assert any(word in str(made) or repr(word)[1:-1] in str(made) for word in laid.named.split("|")), str(made)
            assert len(str(made)) > 30, "no cause, no remedy"
            continue
        assert not verify(made, workers=1)
        skipped = made.info.report["skipped"]
        assert not (skipped and policy == "fail")
        assert all(row["source"] and row["cause"] for row in skipped)
        assert laid.count in (None, len(made) + len(skipped))
        assert len(skipped) if laid.known else True
        for row in range(len(made)):
            with made.tars()[made.shard[row]].open("rb") as tar:
                tar.seek(made.offset[row])
                jpeg = tar.read(made.bytes[row])
            assert jpeg.endswith(b"\xff\xd9") or not laid.options.get("keep")
            size = simplejpeg.decode_jpeg_header(jpeg)[:2]
            if made.info.report["check"] == "decode" or made.info.encoding.get("raw_fraction"):
                size = simplejpeg.decode_jpeg(jpeg).shape[:2]
            assert size == tuple(made.hw[row])


@pytest.mark.parametrize(("name", "lay"), list(params()))
def test_a_damaged_source_is_a_whole_set_or_one_line_that_names_the_damage(name, lay, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: None)  # a fifth of the time, and no machine dies here
    monkeypatch.setattr("viewstream.shards.building.build.version", cache(version))
    hold(lay(tmp_path, random.Random(name)), tmp_path)


@pytest.mark.full
@pytest.mark.parametrize(("name", "policy"), [("trees-pipe", "skip"), ("tsv-index-skips", "fail")])
def test_worker_processes_keep_the_same_law(name, policy, tmp_path, monkeypatch):
    monkeypatch.setattr("viewstream.shards.building.layout.BLOCK_SAMPLES", 2)
    kind, _, case = name.partition("-")
    hold(dict(CASES[kind])[case](tmp_path, random.Random(name)), tmp_path, (policy,), workers=2)


def test_there_are_enough_cases():
    assert sum(map(len, CASES.values())) >= 300
    assert min(map(len, CASES.values())) >= 30
