"""Every flipped bit of a zip file is found, or its reader returns what was written."""

import zipfile

import numpy as np
import pytest

from viewstream.shards.zips import damaged_member

from ..flipping import flipped


@pytest.fixture
def archive(tmp_path):
    """A file of np.savez with two members."""
    file = tmp_path / "features.npz"
    np.savez(file, features=np.arange(12, dtype=np.float32).reshape(4, 3), labels=np.arange(4))
    return file


def content(file):
    with np.load(file) as arrays:
        return {name: arrays[name].tolist() for name in arrays}


def test_a_flipped_bit_of_a_zip_file_is_found_or_changes_nothing(archive):
    written, data, found = content(archive), archive.read_bytes(), 0
    assert not damaged_member(archive)
    for bit in range(0, 8 * len(data), 5):
        archive.write_bytes(flipped(data, bit))
        if damaged_member(archive):
            found += 1
        else:
            assert content(archive) == written, f"bit {bit}"
    assert found > len(data)  # of 8 / 5 len(data); most of the others are times, versions and padding


def test_the_damaged_member_is_named(archive):
    data = archive.read_bytes()
    with zipfile.ZipFile(archive) as members:
        start = members.getinfo("labels.npy").header_offset
    archive.write_bytes(flipped(data, 8 * (start + 150)))
    assert damaged_member(archive) == "labels.npy"
    archive.write_bytes(data[:-1])
    assert damaged_member(archive) == "its list of members"


def test_a_member_that_hides_the_next_one_is_found(archive):
    data = archive.read_bytes()
    entry = data.index(b"PK\x01\x02")
    archive.write_bytes(flipped(data, 8 * (entry + 33) + 6))  # the length of its comment
    assert [*content(archive)] == ["features"]
    assert damaged_member(archive) == "its list of members"


def test_a_member_that_torch_takes_for_a_folder_is_found(archive):
    data = archive.read_bytes()
    entry = data.index(b"PK\x01\x02")
    archive.write_bytes(flipped(data, 8 * (entry + 38) + 4))  # its attributes
    assert damaged_member(archive) == "features.npy"


def test_a_member_that_could_unpack_to_any_size_is_not_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("zeros", bytes(1 << 20))
    assert damaged_member(tmp_path / "bomb.zip") == "zeros"
