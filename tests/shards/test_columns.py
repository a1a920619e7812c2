"""The numbers of a set, mapped: those of its table, or an error; older sets, without them, open by the table."""

import pickle
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from viewstream.shards.building.build import build
from viewstream.shards.care.index import index
from viewstream.shards.care.repair import repair
from viewstream.shards.care.verify import sound, verify
from viewstream.shards.columns import FILE, IN_TABLE, NUMBERS, write_columns
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest
from viewstream.shards.table import TABLE

ALL = ("webdataset", "ffcv", "folder")
FACTS = ("largest", "counts", "uids", "identity", "keys")


def without_columns(made):
    """The set as a version without columns wrote it."""
    (made.root / FILE).unlink()
    return Manifest.open(made.root)


def test_every_number_is_that_of_the_table(options):
    made = build(options(format=ALL, shard_size="50KB"))
    assert made.mapped
    table = pq.read_table(made.root / TABLE)
    for name in IN_TABLE:
        np.testing.assert_array_equal(getattr(made, name), table[name].to_numpy(), name)
    assert [row.tobytes() for row in made.sha256] == table["sha256"].to_pylist()
    for name in (*NUMBERS, "sha256"):
        column = getattr(made, name)
        assert column.flags.aligned, name
        assert not column.flags.writeable, name


def test_an_older_set_opens_by_its_table_as_before_and_nothing_is_written(options):
    made = build(options(format=ALL, shard_size="50KB"))
    older = without_columns(made)
    assert older.mapped is None
    for name in (*NUMBERS, "height", "width", "sha256"):
        np.testing.assert_array_equal(getattr(older, name), getattr(made, name), name)
    assert [getattr(older, name) for name in FACTS] == [getattr(made, name) for name in FACTS]
    assert verify(older) == []
    assert not (made.root / FILE).exists()


def test_facts_that_the_first_line_tells_are_those_of_the_rows(options):
    made = build(options())
    assert made.largest == (made.height * made.width).max()
    assert made.counts == tuple(np.bincount(made.label))
    changed = made.take(np.arange(9), np.zeros(9, np.int32), ("one",))
    assert changed.largest == (made.height * made.width)[:9].max()
    assert changed.counts == (9,)
    assert changed.uids != made.uids


def test_some_samples_of_a_mapped_set_are_those_of_its_table(options):
    made = build(options())
    rows = np.array([31, 4, 4, 17])
    part, older = made.take(rows, made.label[rows], made.info.classes), without_columns(made)
    same = older.take(rows, older.label[rows], older.info.classes)
    for name in (*NUMBERS, "sha256"):
        column = getattr(part, name)
        assert len(column) == 4
        assert column.base is None or len(column.base) == 4, name  # a copy of these rows alone
        np.testing.assert_array_equal(column, getattr(same, name), name)
    assert [getattr(part, name) for name in FACTS] == [getattr(same, name) for name in FACTS]
    assert part.strings("source") == [made.strings("source")[row] for row in rows]


def test_columns_of_fewer_rows_or_of_another_set_are_refused(options, tree, tmp_path, jpeg):
    made = build(options())
    path = made.root / FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=rf"{FILE} has {len(whole) - 1} bytes, its 40 rows take {len(whole)}: .*repair"):
        Manifest.open(made.root)
    path.write_bytes(whole.replace(b'"rows": 40', b'"rows": 39'))
    with pytest.raises(UserError, match=r"has 39 rows, the set has 40: "):
        Manifest.open(made.root)
    path.write_bytes(whole.replace(b'"version": 1', b'"version": 9'))
    with pytest.raises(UserError, match=r"has version 9, this code reads 1: "):
        Manifest.open(made.root)
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"is absent or damaged .*: "):
        Manifest.open(made.root)
    next((tree / "train" / "cat").iterdir()).write_bytes(jpeg(77))
    other = build(options(out=tmp_path / "other"))
    shutil.copy(other.root / FILE, path)
    with pytest.raises(UserError, match=r"was made of another manifest\.parquet: .* or remove it"):
        Manifest.open(made.root)


def test_damaged_columns_are_found_and_written_again_as_they_were(options, program, digests):
    made = build(options(format=("webdataset",)))
    before = digests(made.root)
    for at in (100, -1):  # in the first line, and in the last number
        data = bytearray((made.root / FILE).read_bytes())
        data[at] ^= 0xFF
        (made.root / FILE).write_bytes(data)
        done = program("tools/verify_shards.py", made.root)
        assert done.returncode == 2
        assert FILE in done.stdout
        assert "--repair mends it" in done.stderr
        done = program("tools/verify_shards.py", made.root, "--repair")
        assert (done.returncode, f"{FILE}: rebuilt" in done.stdout) == (0, True)
        assert digests(made.root) == before


def test_damaged_columns_do_not_mislead_the_repair_of_a_tar(options, digests):
    made = build(options(format=("webdataset", "folder")))
    before = digests(made.root)
    at = (made.root / FILE).read_bytes().index(made.offset.tobytes())
    for path, place in ((made.root / FILE, at), (made.tars()[0], int(made.offset[3]) + 9)):
        data = bytearray(path.read_bytes())
        data[place] ^= 0x0F
        path.write_bytes(data)
    damaged = sound(made.root)
    found = verify(damaged)
    assert [damage.file for damage in found] == [FILE, made.tars()[0].name]
    assert repair(damaged, found, lambda: pytest.fail("the folder has the image")) == [damage.file for damage in found]
    assert digests(made.root) == before


def test_repair_gives_an_older_set_its_columns(options, program, digests):
    made = build(options(format=("webdataset",)))
    before = digests(made.root)
    without_columns(made)
    assert program("tools/verify_shards.py", made.root, "--repair").returncode == 0
    assert digests(made.root) == before


def test_shards_of_others_that_are_indexed_have_columns_that_repair_writes_again(options):
    made = build(options(format=("webdataset",)))
    for name in ("dataset.json", TABLE, FILE):
        (made.root / name).unlink()
    indexed = index(made.root)
    assert indexed.mapped
    whole = (made.root / FILE).read_bytes()
    (made.root / FILE).write_bytes(whole[:-5])
    older = sound(made.root)
    assert repair(older, verify(older), lambda: pytest.fail("nothing is fetched")) == [FILE]
    assert (made.root / FILE).read_bytes() == whole


def test_columns_do_not_depend_on_the_row_groups_of_the_table(options):
    made = build(options())
    want = (made.root / FILE).read_bytes()[4096:]
    pq.write_table(pq.read_table(made.root / TABLE), made.root / TABLE, row_group_size=7)
    write_columns(made.root)
    assert (made.root / FILE).read_bytes()[4096:] == want


def test_a_process_that_gets_a_manifest_maps_the_columns_itself(options):
    made = build(options())
    changed = made.take(np.arange(3), made.label[:3], made.info.classes)
    for one in (made, changed):
        data = pickle.dumps(one)
        again = pickle.loads(data)
        for name in (*NUMBERS, "sha256"):
            np.testing.assert_array_equal(getattr(again, name), getattr(one, name), name)
        assert again.identity == one.identity
    data = pickle.dumps(made)
    assert made.uid.tobytes() not in data
    assert made.sha256.tobytes() not in data


def test_a_build_that_ends_after_its_table_is_continued_to_the_same_bytes(options, tmp_path, digests, monkeypatch):
    whole = digests(build(options(out=tmp_path / "whole")).root)

    def torn(root):
        (root / f"{FILE}.partial").write_bytes(b"the first columns")
        raise KeyboardInterrupt

    monkeypatch.setattr("viewstream.shards.manifest.write_columns", torn)
    with pytest.raises(KeyboardInterrupt):
        build(options(out=tmp_path / "out"))
    monkeypatch.undo()
    with pytest.raises(UserError, match="is not a complete data set"):
        Manifest.open(tmp_path / "out")
    assert digests(build(options(out=tmp_path / "out")).root) == whole
