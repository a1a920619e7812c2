"""Betons and images that claim more than they have: one line, within the memory that the message names."""

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from viewstream.shards.care.index import index
from viewstream.shards.encoding.encode import Encoding, encode
from viewstream.shards.encoding.headers import Damaged
from viewstream.shards.formats.beton import ALLOCATION, HEADER, Layout
from viewstream.shards.manifest import Manifest

from .hostile import refusal

pytestmark = pytest.mark.usefixtures("within_memory")


def beton(built: Manifest, tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A copy of a .beton, and its header."""
    path = Path(shutil.copy(built.beton_path(), tmp_path / "x.beton"))
    return path, np.frombuffer(path.read_bytes()[: HEADER.itemsize], HEADER).copy()


@pytest.mark.parametrize(
    ("field", "value"),
    [("samples", 2**62), ("samples", 2**64 - 1), ("fields", 65_535), ("fields", 0)]
    + [("allocations", value) for value in (0, 2**62, 2**64 - 1)],
)
def test_a_beton_that_claims_more_than_it_has_is_one_line(field, value, built, tmp_path):
    path, head = beton(built, tmp_path)
    head[field] = value
    path.write_bytes(head.tobytes() + path.read_bytes()[HEADER.itemsize :])
    refusal(lambda: Layout.of(path))


@pytest.mark.parametrize(("field", "value"), [("bytes", 2**62), ("bytes", 2**64 - 1), ("where", 2**63)])
def test_a_sample_outside_of_its_beton_is_one_line(field, value, built, tmp_path):
    path, head = beton(built, tmp_path)
    at, data = int(head["allocations"][0]), bytearray(path.read_bytes())
    table = np.frombuffer(bytes(data[at:]), ALLOCATION).copy()
    table[field][3] = value
    data[at:] = table.tobytes()
    if field == "where":
        start = HEADER.itemsize + 2 * 1041 + 3 * 24 + 5
        data[start : start + 8] = struct.pack("<Q", value)
    path.write_bytes(data)
    refusal(lambda: Layout.of(path))


def claimed(jpeg: bytes, height: int, width: int) -> bytes:
    """A JPEG whose header claims another size."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def test_an_image_that_claims_60_000_px_is_not_indexed(jpeg, tmp_path):
    import tarfile

    (tmp_path / "a.jpg").write_bytes(claimed(jpeg(0), 60_000, 60_000))
    (tmp_path / "b.jpg").write_bytes(jpeg(1))
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("a.jpg", "b.jpg"):
            tar.add(tmp_path / name, name)
    assert "--max-pixels" in refusal(lambda: index(tmp_path, workers=1))
    assert len(index(tmp_path, workers=1, skip=True)) == 1


@pytest.mark.parametrize("keep", [True, False])
def test_an_image_above_the_limit_is_damaged_and_one_below_a_raised_limit_is_not(keep, jpeg):
    plain = Encoding(keep, 0 if keep else 40, 0, 90, "headers")
    with pytest.raises(Damaged, match="--max-pixels"):
        encode(jpeg(0), Encoding(keep, 0 if keep else 40, 0, 90, "headers", max_pixels=60 * 80 - 1))
    assert encode(jpeg(0), plain)
    with pytest.raises(Damaged, match="--max-pixels"):
        encode(claimed(jpeg(0), 60_000, 60_000), plain)
