"""Records of finished units: they read back as they were written, and count only for their own unit."""

import dataclasses

import pyarrow.parquet as pq
import pytest

from viewstream.shards.building import records
from viewstream.shards.building.records import ROWS
from viewstream.shards.errors import UserError

from ...flipping import flipped, flips

SKIPPED = ({"source": "cat/a.jpg", "cause": "the file is empty"},)


def written(folder, number, **note):
    """The record of a unit without a tar, on the disk."""
    blank = {"tar": None, "kinds": {"png": number}, "suspect": (), "skipped": SKIPPED}
    return records.write(folder, number, ROWS.empty_table(), **blank | note)


@pytest.fixture
def three(tmp_path):
    """A folder with the records of three units without tars."""
    return tmp_path, [written(tmp_path, n, digest=f"digest{n}", beton=(1 << 23, 2106 + n)) for n in range(3)]


def test_a_record_reads_back_as_it_was_written_and_cannot_change(three):
    folder, made = three
    assert records.read(folder, ["digest0", "digest1", "digest2"]) == (made, 0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made[0].digest = "other"  # pyright: ignore


def test_records_after_one_of_another_unit_are_deleted(three):
    folder, made = three
    assert records.read(folder, ["digest0", "other", "digest2"]) == (made[:1], 2)
    assert [path.name for path in folder.iterdir()] == ["000000.parquet"]


def test_a_torn_record_counts_as_absent(three):
    folder, made = three
    path = folder / "000001.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    assert records.read(folder, ["digest0", "digest1", "digest2"]) == (made[:1], 2)


def test_a_record_whose_tar_is_absent_does_not_count(three):
    folder, _ = three
    building = folder / "building"
    building.mkdir()
    tar = {"file": "pets-000000.tar", "bytes": 10240, "samples": 0, "digest": ""}
    written(building, 0, digest="digest0", beton=(0, 0), tar=tar)
    assert records.read(building, ["digest0"]) == ([], 1)


def test_a_record_whose_tar_is_elsewhere_is_refused(three, tmp_path):
    folder, _ = three
    building = folder / "building"
    building.mkdir()
    (tmp_path / "secret.tar").write_bytes(b"x")
    (tmp_path / "secret.idx").write_bytes(b"x")
    for name in ("../secret.tar", f"{tmp_path}/secret.tar"):
        written(building, 0, digest="digest0", beton=(0, 0), tar={"file": name, "bytes": 1, "samples": 0, "digest": ""})
        with pytest.raises(UserError, match="leads out of the set"):
            records.read(building, ["digest0"])


def test_a_record_with_any_flipped_bit_counts_as_absent(three):
    folder, made = three
    for bit in flips(folder / "000001.parquet", 300):
        assert records.read(folder, ["digest0", "digest1"])[0] == made[:1], f"bit {bit}"


def test_a_record_of_an_earlier_version_counts_as_absent(three):
    folder, made = three
    path = folder / "000001.parquet"
    path.write_bytes(path.read_bytes()[: -records.SEAL])
    assert len(pq.read_table(path)) == 0
    assert records.read(folder, ["digest0", "digest1"]) == (made[:1], 2)


def test_a_record_that_is_damaged_during_a_build_never_reaches_the_manifest(three):
    _, (record, *_) = three
    record.path.write_bytes(flipped(record.path.read_bytes(), 99))
    with pytest.raises(UserError, match=r"000000.parquet is damaged \(its sha256 is another\): the same command makes"):
        record.rows("uid")
