"""Rows that no build writes: every reader refuses them in one line, and no memory is asked for by their numbers."""

import resource
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from viewstream.augment.recipes import moco_v2
from viewstream.pipeline.choose import open_loader
from viewstream.pipeline.plan.order import Plan
from viewstream.shards.care.verify import sound, verify
from viewstream.shards.columns import FILE, write_columns
from viewstream.shards.errors import UserError
from viewstream.shards.files import digest_of
from viewstream.shards.formats.reader import SampleReader
from viewstream.shards.manifest import Manifest
from viewstream.shards.memory import in_memory
from viewstream.shards.table import SCHEMA, TABLE

from ..pages import change_page

ROW = 5  # the hostile one
NUMBERS = {
    "height": (0, -1, -(2**31), 2**31 - 1, 60_000),
    "width": (0, -80, 65_536, 60_000),
    "bytes": (-1, 0, 2**62, 600_000_000),
    "label": (4, -2, 2**31 - 1, -(2**31)),
    "shard": (-1, 1, 2**31 - 1),
    "offset": (-1, 2**62, 2**63 - 1),
    "beton": (-1, -(2**63), 2**62),
}
Change = Callable[[Path, str, Any], Path]


@pytest.fixture
def changed(built: Manifest, tmp_path: Path) -> Change:
    """(column, value) -> a copy of the set whose row ROW has that value, and whose digests all fit."""

    def make(column: str, value: Any, by_table: bool = False) -> Path:
        root = tmp_path / "set"
        shutil.copytree(built.root, root)
        table = pq.read_table(root / TABLE)
        values = table[column].to_pylist()
        values[ROW] = value
        at = SCHEMA.get_field_index(column)
        pq.write_table(table.set_column(at, SCHEMA.field(at), pa.array(values, SCHEMA.field(at).type)), root / TABLE)
        write_columns(root)
        if by_table:
            (root / FILE).unlink()
        change_page(root, lambda page: page.update(manifest=digest_of(root / TABLE)))
        return root

    return make


def cases() -> list[Any]:
    return [pytest.param(c, v, id=f"{c}={v}") for c, values in NUMBERS.items() for v in values]


def refusal(act: Callable[[], Any]) -> str:
    """The one line that `act` ends with."""
    with pytest.raises(UserError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def trained(root: Path, reader: str) -> None:
    """An epoch of a set."""
    data = Manifest.open(root)
    with closing(open_loader(reader, data, Plan(len(data), 8, seed=1), moco_v2(32), threads=1)) as loader:
        for _ in loader.epoch(0):
            pass


def verified(root: Path) -> None:
    """As verify_shards.py does."""
    if damages := verify(sound(root), 1):
        raise UserError(damages[0].cause)


@pytest.mark.parametrize(("column", "value"), cases())
def test_a_number_that_no_build_writes_is_one_line_wherever_its_row_is_read(column, value, changed):
    root = changed(column, value)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for reader in ("webdataset", "webdataset-stream", "ffcv", "folder", "memory"):
        refusal(lambda reader=reader: trained(root, reader))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 200_000  # KB


@pytest.mark.parametrize(("column", "value"), [case for case in cases() if case.values[1] != 60_000])
def test_a_number_that_no_build_writes_is_refused_by_verify_and_without_columns(column, value, changed):
    root = changed(column, value, by_table=True)
    refusal(lambda: Manifest.open(root))
    write_columns(root)
    refusal(lambda: verified(root))


def test_two_samples_with_one_number_in_the_beton_are_found_by_verify(built, changed):
    root = changed("beton", int(built.beton[ROW - 1]))
    assert "one number" in verify(sound(root), 1)[0].cause


def test_two_samples_at_one_place_of_a_tar_are_found_by_verify(built, changed):
    root = changed("offset", int(built.offset[ROW - 1]))
    assert "within the one before" in verify(sound(root), 1)[0].cause


def test_columns_that_claim_a_smaller_largest_image_do_not_make_the_buffers_too_small(built, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(built.root, root)
    at, largest = (root / FILE).read_bytes(), b'"largest": %d' % built.largest
    small = b'"largest": 1'.ljust(len(largest))
    (root / FILE).write_bytes(at.replace(largest, small))
    with pytest.raises(UserError, match="more than 1 px"):
        Manifest.open(root).check(np.arange(4))


@pytest.mark.parametrize("largest", [b"9" * 18, b"-5", b"NaN", b"1e9", b'"1"', b"null"])
def test_columns_that_claim_an_impossible_largest_image_are_refused(largest, built, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(built.root, root)
    head, rest = (root / FILE).read_bytes()[:4096], (root / FILE).read_bytes()[4096:]
    line = head.replace(b'"largest": %d' % built.largest, b'"largest": ' + largest).rstrip()
    (root / FILE).write_bytes(line.ljust(4095) + b"\n" + rest)
    with pytest.raises(UserError, match=r"--max-pixels|largest"):
        Manifest.open(root)


def test_the_limit_of_pixels_holds_for_sets_and_is_an_option(built):
    with pytest.raises(UserError, match="--max-pixels"):
        Manifest.open(built.root, max_pixels=built.largest - 1)
    with pytest.raises(UserError, match="--max-pixels"):
        Manifest.open(built.root, by_table=True, max_pixels=built.largest - 1)
    assert len(Manifest.open(built.root, max_pixels=built.largest)) == len(built)


def test_a_set_of_any_size_opens_without_looking_at_its_rows(changed, monkeypatch):
    root = changed("label", 77)
    monkeypatch.setattr(Manifest, "check", lambda *_: pytest.fail("a row was looked at"))
    Manifest.open(root)


class Unread(SampleReader):
    """Has nothing."""

    def read(self, row: int) -> bytes:
        raise AssertionError("no sample is read")

    def locate(self, row: int) -> str:
        return "nowhere"


def test_a_batch_of_images_that_memory_does_not_hold_is_one_line():
    sides = np.full((1024, 2), 13_000)
    data = in_memory("large", [f"a/{n}" for n in range(1024)], np.zeros(1024, int), sides, ["a"])
    loader = open_loader(Unread(), data, Plan(1024, 1024), moco_v2(32), threads=1, crops="device")
    with closing(loader):
        assert "519.2 GB" in refusal(lambda: next(iter(loader.epoch(0))))


def test_verify_ends_with_one_line_and_code_2(changed, program):
    done = program("tools/verify_shards.py", changed("height", -5))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "-5" in done.stderr
