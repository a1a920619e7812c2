"""Hostile input: whatever a source holds, a build ends in a whole set or in one line that names the damage.

Each case is a damaged source of six images (hostile/), built under both policies of --on-error. Its random generator
is seeded by its name, so a case that fails can be run again alone.
"""

import os
import random
import re
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
from viewstream.shards.sources import detect
from viewstream.shards.subsets.options import SubsetOptions

from .hostile.images import images
from .hostile.lists import lists, subsets
from .hostile.parquet import parquet
from .hostile.source import Laid
from .hostile.tars import ilsvrc, webdataset
from .hostile.trees import trees
from .hostile.tsv import tsv

SECONDS = 120  # a build of six images that takes longer hangs
QUICK = 12  # cases of a kind that the short run takes
KINDS = (images, trees, webdataset, ilsvrc, tsv, parquet, lists, subsets)
CASES = {kind.__name__: list(kind()) for kind in KINDS}
NO_IMAGE_LEFT = ("parquet-all-null", "tsv-cut7")  # with --on-error skip: every image is damaged


def params() -> Iterator[Any]:
    for kind, cases in CASES.items():
        step = max(1, len(cases) // QUICK)
        for number, (name, lay) in enumerate(cases):
            marks = [] if number % step == 0 else [pytest.mark.full]
            case = f"{kind}-{name}"
            yield pytest.param(case, lay, id=case.encode("unicode_escape").decode(), marks=marks)


def listing(root: Path) -> dict[str, tuple[int, int, int]]:
    """{path: mode, size, time} of everything under a folder, except the set and the index that a TSV may get."""
    found = {}
    for folder, dirs, files in os.walk(root):
        if Path(folder) == root and "out" in dirs:
            dirs.remove("out")
        for name in [*dirs, *files]:
            path = Path(folder) / name
            status = path.lstat()
            if path.suffix != ".lineidx":
                changed = 0 if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns
                found[str(path)] = (status.st_mode, status.st_size, changed)
    return found


def tried(laid: Laid, out: Path, policy: str, workers: int = 1) -> Manifest | UserError:
    """A build, or its refusal; a build that hangs is stopped."""

    def stop(*_: object) -> None:
        pytest.fail(f"the build hangs: {SECONDS} s have passed")

    options: dict[str, Any] = {"max_side": 32, "format": ("webdataset",), "workers": workers}
    options |= {**laid.options, "on_error": policy}
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        return build(BuildOptions(source=laid.source, out=out, **options), SubsetOptions(laid.subset))
    except UserError as error:
        return error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def names_damage(laid: Laid, text: str) -> bool:
    """Whether a text names the damaged sample or file; names may be quoted with escapes."""
    return any(name in text or repr(name)[1:-1] in text for name in laid.named)


def check_refusal(case: str, laid: Laid, policy: str, error: UserError, out: Path) -> None:
    """One line: fact, reason, remedy. Nothing that looks like a set is left."""
    text = str(error).replace(str(laid.source.parent), "")  # the path of the folder may hold any word
    assert laid.named, f"this source has no damage that a build may refuse: {text}"
    assert not (out / "dataset.json").exists()
    assert "\n" not in text
    assert re.search(r"[:;] \S+ \S+", text), f"a fact without reason or remedy: {text}"
    if "images are damaged, the first by" in text:
        assert policy == "skip"
        assert case in NO_IMAGE_LEFT
    else:
        assert names_damage(laid, text), text
    if policy == "fail":
        assert not out.exists()


def check_set(laid: Laid, policy: str, made: Manifest) -> None:
    """A sound set of whole JPEGs, which lists exactly the damaged images as skipped."""
    assert not verify(made, workers=1)
    skipped = made.info.report["skipped"]
    assert not (skipped and policy == "fail")
    assert skipped or not laid.known, "the damage was not detected"
    assert laid.count in (None, len(made) + len(skipped))
    for row in skipped:
        assert row["cause"]
        assert names_damage(laid, row["source"]), row
    decodes = made.info.report["check"] == "decode" or made.info.encoding.get("raw_fraction")
    for row in range(len(made)):
        with made.tars()[made.shard[row]].open("rb") as tar:
            tar.seek(made.offset[row])
            jpeg = tar.read(made.bytes[row])
        assert jpeg.endswith(b"\xff\xd9")
        size = simplejpeg.decode_jpeg(jpeg).shape[:2] if decodes else simplejpeg.decode_jpeg_header(jpeg)[:2]
        assert size == tuple(made.hw[row])


def check(case: str, laid: Laid, root: Path, policies: tuple[str, ...] = ("fail", "skip"), workers: int = 1) -> None:
    before = listing(root)
    for policy in policies:
        out = root / "out" / policy
        made = tried(laid, out, policy, workers)
        assert listing(root) == before, "the build changed its source"
        if isinstance(made, UserError):
            check_refusal(case, laid, policy, made, out)
        else:
            check_set(laid, policy, made)


@pytest.mark.parametrize(("case", "lay"), list(params()))
def test_a_damaged_source_is_a_whole_set_or_one_line_that_names_the_damage(case, lay, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: None)  # a fifth of the time; no test here kills the machine
    monkeypatch.setattr("viewstream.shards.building.job.version", cache(version))
    check(case, lay(tmp_path, random.Random(case)), tmp_path)


@pytest.mark.full
@pytest.mark.parametrize(("case", "policy"), [("trees-pipe", "skip"), ("tsv-index-skips", "fail")])
def test_builds_with_worker_processes_keep_the_same_law(case, policy, tmp_path, monkeypatch):
    monkeypatch.setattr("viewstream.shards.building.layout.BLOCK_SAMPLES", 2)
    kind, _, name = case.partition("-")
    check(case, dict(CASES[kind])[name](tmp_path, random.Random(case)), tmp_path, (policy,), workers=2)


def test_every_kind_of_source_has_hostile_cases(tmp_path):
    kinds = set()
    for number, lay in enumerate([dict(CASES["trees"])["flat"], *(cases[0][1] for cases in CASES.values())]):
        root = tmp_path / str(number)
        root.mkdir()
        kinds.add(detect.kind_of(str(lay(root, random.Random(number)).source), "train"))
    assert kinds == set(detect.KINDS)


@pytest.mark.parametrize("kind", CASES)
def test_no_two_cases_share_a_name(kind):
    names = [name for name, _ in CASES[kind]]
    assert len(set(names)) == len(names)
