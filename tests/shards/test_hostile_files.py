"""Files that claim too much, or nest too deeply: one line, within the memory that the message names."""

import gzip
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from viewstream.shards.building import records
from viewstream.shards.care.verify import sound, verify
from viewstream.shards.columns import FILE
from viewstream.shards.files import PAGE, digest_of
from viewstream.shards.formats.read import open_folder
from viewstream.shards.lists import read
from viewstream.shards.manifest import Manifest
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.matfile import load
from viewstream.shards.table import SCHEMA, TABLE

from ..pages import change_page
from .hostile import refusal

pytestmark = pytest.mark.usefixtures("within_memory")

DEEP = "[" * 200_000
ZEROS = 100 << 20  # bytes: more than what unpack.py gives to a small file


@pytest.fixture
def copied(built: Manifest, tmp_path: Path) -> Path:
    """A copy of a set."""
    return Path(shutil.copytree(built.root, tmp_path / "set"))


def page(root: Path, **changes: Any) -> None:
    """Change values of a set's dataset.json."""
    change_page(root, lambda page: page.update(changes))


def retabled(root: Path, table: pa.Table, **options: Any) -> None:
    """Write a set's table, and what says which table it is."""
    pq.write_table(table, root / TABLE, **options)
    page(root, manifest=digest_of(root / TABLE), samples=len(table))
    (root / FILE).unlink(missing_ok=True)


@pytest.mark.parametrize("place", [PAGE, FILE])
def test_json_that_nests_too_deeply_is_one_line(place, copied):
    rest = (copied / place).read_bytes()[4096:] if place == FILE else b""
    (copied / place).write_bytes((DEEP[:4095] + "\n" if place == FILE else DEEP).encode() + rest)
    refusal(lambda: Manifest.open(copied))
    if place == FILE:
        assert verify(sound(copied), 1)[0].file == FILE


def test_a_record_that_nests_too_deeply_is_made_again(tmp_path):
    rows = records.ROWS.empty_table().replace_schema_metadata({records.NOTE: DEEP})
    pq.write_table(rows, tmp_path / "000000.parquet")
    assert records.read(tmp_path, ["digest"])[0] == []


CHANGES = [
    {"samples": -1},
    {"samples": 1e400},
    {"samples": float("nan")},
    {"samples": 2**70},
    {"samples": "96"},
    {"samples": True},
    {"classes": ["cat", "cat", "eel", "fox"]},
    {"classes": ["cat", "dog"]},
    {"classes": [1, 2, 3, 4]},
    {"classes": [["cat"], "dog", "eel", "fox"]},
    {"counts": [24, 24, 24]},
    {"counts": [24, 24, 24, 2**63]},
    {"counts": [24, 24, 24, -24]},
    {"counts": [24, 24, 24, 24.0]},
    {"files": [5]},
    {"files": [{}]},
    {"files": []},
    {"files": [{"file": "a.tar", "bytes": -5, "samples": 1, "digest": ""}]},
    {"files": [{"file": "a.tar", "bytes": float("inf"), "samples": 1, "digest": ""}]},
    {"files": [{"file": 5, "bytes": 5, "samples": 1, "digest": ""}]},
    {"subset": "full"},
    {"subset": None},
    {"encoding": [1]},
    {"encoding": {"fields": 5}},
    {"encoding": {"fields": [5]}},
    {"report": {}},
    {"report": []},
    {"report": {"normalised": 5}},
    {"version": [DEEP[:9000]]},
    {"formats": 5},
    {"name": 5},
    {"more": 5},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change)[:40])
def test_a_page_with_impossible_values_is_one_line(change, copied):
    page(copied, **change)
    assert len(refusal(lambda: Manifest.open(copied))) < 1000


def test_counts_other_than_those_of_the_labels_are_found_by_verify(copied, built):
    counts = list(built.info.counts)
    page(copied, counts=[counts[0] - 1, counts[1] + 1, *counts[2:]])
    assert "cat" in refusal(lambda: verify(sound(copied), 1))


def test_a_table_of_other_types_is_one_line(copied):
    table = pq.read_table(copied / TABLE)
    for name, kind in (("label", pa.float64()), ("height", pa.string()), ("key", pa.binary()), ("bytes", pa.int32())):
        at = table.schema.get_field_index(name)
        retabled(copied, table.set_column(at, name, table[name].cast(kind)))
        assert name in refusal(lambda: Manifest.open(copied))
    retabled(copied, table.drop_columns(["offset"]))
    assert "offset" in refusal(lambda: Manifest.open(copied))


@pytest.mark.parametrize("column", ["uid", "label", "sha256", "key"])
def test_a_table_that_lacks_values_is_one_line(column, copied):
    table = pq.read_table(copied / TABLE)
    at = SCHEMA.get_field_index(column)
    values = pa.array([None, *table[column].to_pylist()[1:]], SCHEMA.field(at).type)
    retabled(copied, table.set_column(at, SCHEMA.field(at), values))

    def used() -> None:
        data = Manifest.open(copied)
        assert data.keys
        assert len(data.sha256)

    assert column in refusal(used)


def test_a_damaged_string_column_is_one_line_wherever_it_is_read(copied):
    table = pq.read_table(copied / TABLE)
    raw = table["key"].combine_chunks()
    offsets, data = raw.buffers()[1], bytearray(raw.buffers()[2].to_pybytes())
    data[3] = 0xFF
    keys = pa.Array.from_buffers(pa.string(), len(raw), [None, offsets, pa.py_buffer(bytes(data))])
    retabled(copied, table.set_column(SCHEMA.get_field_index("key"), "key", keys), use_dictionary=False)
    data_set = Manifest.open(copied)
    for act in (lambda: data_set.keys, lambda: data_set.key(0), lambda: open_folder(data_set)):
        assert "key" in refusal(act) or "UTF" in refusal(act)


def bomb(path: Path, times: int, part: pa.Table) -> None:
    """A small file of a large table, written without holding it."""
    with pq.ParquetWriter(path, part.schema, compression="zstd", use_dictionary=False) as writer:
        for _ in range(times):
            writer.write_table(part)
    assert path.stat().st_size < 500_000


def test_a_table_that_unpacks_to_far_more_than_its_size_is_one_line(copied):
    one = pq.read_table(copied / TABLE).slice(0, 1)
    zeros = one.set_column(SCHEMA.get_field_index("key"), "key", pa.array([bytes(4 << 20)]).cast(pa.string()))
    bomb(copied / TABLE, ZEROS >> 22, zeros)
    (copied / FILE).unlink()
    assert "unpack" in refusal(lambda: Manifest.open(copied))
    bomb(copied / TABLE, 10, pa.table({f.name: pa.nulls(100_000, f.type) for f in SCHEMA}, schema=SCHEMA))
    assert "rows" in refusal(lambda: Manifest.open(copied))


def test_a_table_of_images_that_unpacks_to_far_more_than_its_size_is_one_line(tmp_path):
    path, image = tmp_path / "train.parquet", pa.struct([("bytes", pa.binary())])
    bomb(path, ZEROS >> 23, pa.table({"image": pa.array([{"bytes": bytes(1 << 23)}], image), "label": [0]}))
    assert "unpack" in refusal(lambda: open_source(str(path), "train"))
    bomb(path, 10, pa.table({"image": pa.nulls(100_000, image), "label": pa.nulls(100_000, pa.int64())}))
    assert "rows" in refusal(lambda: open_source(str(path), "train"))


def test_a_list_that_unpacks_to_far_more_than_its_size_is_one_line(tmp_path):
    packer, path = zlib.compressobj(1, wbits=31), tmp_path / "list.txt.gz"
    with path.open("wb") as file:
        for _ in range(ZEROS >> 20):
            file.write(packer.compress(b"a/b.jpg 1\n" * (1 << 17)))
        file.write(packer.flush())
    assert "unpack" in refusal(lambda: read(path))
    (tmp_path / "list.txt.gz").write_bytes(gzip.compress(b"a/b.jpg 1\n" * 100_000))
    assert len(read(path)[0]) == 1_000_000


def test_a_matlab_file_that_unpacks_to_far_more_than_its_size_is_refused():
    packer = zlib.compressobj(1)
    body = b"".join(packer.compress(bytes(1 << 20)) for _ in range(ZEROS >> 20)) + packer.flush()
    with pytest.raises(ValueError, match="unpack"):
        load(bytes(126) + b"IM" + struct.pack("<II", 15, len(body)) + body)


def test_a_label_far_beyond_the_number_of_images_is_one_line(tmp_path):
    (tmp_path / "train.tsv").write_text("a\t4444444\tAAAA\n")
    assert "4444444" in refusal(lambda: open_source(str(tmp_path), "train"))
    (tmp_path / "list.txt").write_text("a/b.jpg 4444444\n")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.jpg").write_bytes(b"")
    assert "4444444" in refusal(lambda: open_source(str(tmp_path / "list.txt"), "train"))
