"""The table of a set: the same bytes however its rows arrive, and read no further than a question needs."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from viewstream.shards import table as module
from viewstream.shards.building.build import build
from viewstream.shards.manifest import Manifest
from viewstream.shards.table import SCHEMA, Table, stamp, write_table

GROUP = 8  # rows


@pytest.fixture
def grouped(options, monkeypatch):
    """A set of 40 images whose table has five row groups, and a list of those that are read."""
    monkeypatch.setattr(module, "GROUP", GROUP)
    made, asked = build(options()), []
    read = pq.ParquetFile.read_row_group

    def counted(self, number, columns):
        asked.append((number, *columns))
        return read(self, number, columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    return made, asked


def test_the_bytes_of_a_table_do_not_depend_on_how_its_rows_arrive(options, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "GROUP", GROUP)
    whole = pq.read_table(build(options()).root / module.TABLE)
    pq.write_table(whole, tmp_path / "once", compression="zstd", use_dictionary=False, row_group_size=GROUP)
    for sizes in ([40], [1] * 40, [3, 8, 0, 16, 13]):
        ends = np.cumsum(sizes)
        parts = [whole.slice(end - size, size) for end, size in zip(ends, sizes, strict=True)]
        write_table(tmp_path / "parts", SCHEMA, parts)
        assert (tmp_path / "parts").read_bytes() == (tmp_path / "once").read_bytes()


def test_names_are_read_only_where_they_are_asked_for(grouped):
    made, asked = grouped
    keys = made.keys
    assert asked == []
    assert made.key(20) == keys[20]
    assert asked == [(2, "key")]
    asked.clear()
    assert made.strings("source", [39, 1, 0, 39]) == [made.strings("source")[row] for row in (39, 1, 0, 39)]
    assert asked == [(0, "source"), (4, "source")]
    asked.clear()
    part = made.take(np.array([9, 10]), made.label[9:11], made.info.classes)
    assert (part.keys, part.key(1), part.packed("key").to_pylist()) == (keys[9:11], keys[10], keys[9:11])
    assert {number for number, _ in asked} == {1}


def test_opening_a_set_and_its_facts_read_no_row_group(grouped):
    made, asked = grouped
    again = Manifest.open(made.root)
    facts = again.largest, again.counts, again.uids, again.identity, again.hw[3], again.sha256[3]
    again.require_labels("kNN")
    assert facts
    assert asked == []


def test_a_row_group_is_read_once_for_rows_that_follow_each_other(grouped):
    made, asked = grouped
    names = Table(made.root / module.TABLE)
    assert [names.values("key", np.array([row]))[0] for row in range(40)] == made.keys
    assert asked == [(number, "key") for number in range(5)]


def test_a_table_that_is_written_again_or_torn_has_another_stamp(options):
    made = build(options())
    path = made.root / module.TABLE
    before, whole = stamp(path), pq.read_table(path)
    assert len(before) == 64
    label = pa.array(made.label[::-1], pa.int32())
    other = whole.set_column(whole.column_names.index("label"), "label", label)
    write_table(path, SCHEMA, [other])
    assert stamp(path) != before
    path.write_bytes(path.read_bytes()[:-3])
    assert stamp(path) == ""
    assert stamp(path.with_name("nothing")) == ""
