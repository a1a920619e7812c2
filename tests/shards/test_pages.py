"""Tables of a few kilobytes that become gigabytes: one line that names the limit, within that memory."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from viewstream.shards.building import records
from viewstream.shards.columns import FILE
from viewstream.shards.manifest import Manifest
from viewstream.shards.pages import Watched, check_pages
from viewstream.shards.sources.detect import open_source
from viewstream.shards.table import TABLE

from .hostile import refusal

pytestmark = pytest.mark.usefixtures("within_memory")
LONG = 1 << 20  # bytes of a value
MANY = 2000  # rows that have it: 2 GB
DAMAGE = (pa.ArrowException, OSError, ValueError)
Write = Callable[..., None]


def repeated(value: Any, kind: pa.DataType, rows: int = MANY) -> pa.Array:
    """The same value in many rows, held once."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([value], kind))


def write(path: Path, columns: dict[str, Any], **options: Any) -> None:
    """A small file, whose description claims little."""
    limits = {"dictionary_pagesize_limit": 1 << 30, "data_page_size": 1 << 30, "row_group_size": MANY}
    pq.write_table(pa.table(columns), path, compression="zstd", store_schema=False, **{**limits, **options})
    assert path.stat().st_size < 100_000


def rows_of(schema: pa.Schema, rows: int, **columns: Any) -> dict[str, Any]:
    """A table of one row many times, with other columns."""
    values = {pa.string(): "a", pa.binary(32): bytes(32), pa.bool_(): False}
    made = {f.name: pa.array([values.get(f.type, [0] if pa.types.is_list(f.type) else 0)], f.type) for f in schema}
    return {name: columns.get(name, pa.chunked_array([one] * rows).combine_chunks()) for name, one in made.items()}


def lowered(path: Path, above: int = 1 << 20) -> None:
    """Make the description of a file claim that no column takes more than a few bytes."""
    data, metadata = path.read_bytes(), pq.read_metadata(path)
    end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    foot = data[end:]
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        sizes = [group.total_byte_size, *(group.column(n).total_uncompressed_size for n in range(group.num_columns))]
        for size in sizes:
            if size > above:
                old = varint(2 * size)
                assert old in foot
                foot = foot.replace(old, b"\x90" + b"\x80" * (len(old) - 2) + b"\0")
    path.write_bytes(data[:end] + foot)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


@pytest.fixture
def bare(built: Manifest, tmp_path: Path) -> Path:
    """A copy of a set that opens by its table."""
    root = Path(shutil.copytree(built.root, tmp_path / "set"))
    (root / FILE).unlink()
    return root


def test_a_long_value_that_a_dictionary_repeats_is_refused_wherever_a_table_is_read(bare, built):
    long = repeated("a" * LONG, pa.string(), len(built))
    table = pq.read_table(built.root / TABLE)
    write(bare / TABLE, dict(zip(table.column_names, table.columns, strict=True)) | {"key": long})
    opened = Manifest.open(bare)
    for act in (lambda: opened.keys, lambda: opened.key(3), lambda: opened.packed("key")):
        line = refusal(act)
        assert "67,108,864 is the limit" in line
        assert TABLE in line


def test_a_list_of_millions_in_one_row_is_refused(bare, tmp_path):
    many = pa.ListArray.from_arrays([0, 1 << 23], pa.nulls(1 << 23, pa.int64()))
    write(tmp_path / "x.parquet", {"field_offset": many, "key": ["a"]})
    with pa.memory_map(str(tmp_path / "x.parquet")) as file, pq.ParquetFile(file) as table:
        with pytest.raises(ValueError, match="is the limit"):
            check_pages(file, table, [0])
        check_pages(file, table, [0], ["key"])


def test_values_that_each_continue_the_one_before_are_refused(tmp_path):
    long = pa.array(["a" * LONG] * 100)
    options = {"use_dictionary": False, "column_encoding": {"label": "DELTA_BYTE_ARRAY"}}
    write(tmp_path / "train.parquet", {"image": pa.array([{"bytes": b""}] * 100), "label": long}, **options)
    lowered(tmp_path / "train.parquet")
    assert "is the limit" in refusal(lambda: open_source(str(tmp_path / "train.parquet"), "train"))


def test_a_page_larger_than_the_description_says_is_refused(tmp_path):
    path = tmp_path / "train.parquet"
    long = pa.array([bytes(65 << 20)]).cast(pa.string())
    write(path, {"image": pa.array([{"bytes": b""}]), "label": long}, use_dictionary=False, write_statistics=False)
    lowered(path)
    assert pq.read_metadata(path).row_group(0).total_byte_size < 1000
    assert "is the limit" in refusal(lambda: open_source(str(path), "train"))


@pytest.mark.parametrize("column", ["label", "image.path", "image.bytes"])
def test_a_long_value_that_a_dictionary_repeats_is_refused_in_a_table_of_images(column, tmp_path):
    long, path = repeated(b"a" * LONG, pa.binary()), tmp_path / "train.parquet"
    short = repeated(b"a", pa.binary())
    fields = {name: long if column == name else short for name in ("image.bytes", "image.path")}
    image = pa.StructArray.from_arrays(fields.values(), ["bytes", "path"])
    label = repeated("a" * LONG if column == "label" else "a", pa.string())
    write(path, {"image": image, "label": label, "other": np.random.default_rng(0).integers(1 << 60, size=MANY)})

    def used() -> None:
        source = open_source(str(path), "train")
        assert source.stage
        source.stage(source, tmp_path / "stage", np.arange(len(source)))

    assert "is the limit" in refusal(used)


def test_a_record_that_unpacks_to_far_more_than_its_size_is_made_again(tmp_path):
    note = {records.NOTE: b'{"digest": "", "tar": null, "beton": [0, 0], "kinds": {}, "suspect": [], "skipped": []}'}
    for long, found in (("a", 1), ("a" * LONG, 0)):
        columns = rows_of(records.ROWS, 1000, key=repeated(long, pa.string(), 1000))
        table = pa.table(columns).replace_schema_metadata(note)
        pq.write_table(table, file := io.BytesIO(), compression="zstd", dictionary_pagesize_limit=1 << 30)
        (tmp_path / "000000.parquet").write_bytes(records.sealed(file.getvalue()))
        assert len(records.read(tmp_path, [""])[0]) == found


@pytest.mark.parametrize("options", [{}, {"data_page_version": "2.0"}, {"use_dictionary": False}, {"version": "1.0"}])
@pytest.mark.parametrize("packing", ["none", "snappy", "gzip", "brotli", "zstd", "lz4"])
def test_whole_tables_of_any_kind_are_read_as_pyarrow_reads_them(packing, options):
    rng = np.random.default_rng(0)
    names = [f"class {n}" for n in rng.integers(0, 50, 3000)]
    images = [{"bytes": rng.bytes(50 * (n % 9)), "path": None if n % 7 else f"{n}.jpg"} for n in range(3000)]
    table = pa.table({"image": images, "label": names, "more": [[1] * (n % 3) for n in range(3000)]})
    file = io.BytesIO()
    pq.write_table(table, file, compression=packing, row_group_size=1000, data_page_size=4096, **options)
    for buffer in (0, 1000):
        with Watched(file).table(buffer) as watched:
            assert watched.read() == table
    held = pa.BufferReader(file.getvalue())
    check_pages(held, pq.ParquetFile(held), range(3))


def test_cut_and_changed_pages_are_damage(tmp_path):
    file, rng = io.BytesIO(), np.random.default_rng(0)
    pq.write_table(pa.table({"label": ["a", "b"] * 500, "n": range(1000)}), file, compression="none")
    whole = file.getvalue()
    for _ in range(300):
        data = bytearray(whole)
        for at in rng.integers(4, len(data) - 8, 3):
            data[at] = rng.integers(256)
        try:
            Watched(io.BytesIO(data)).table().read()
        except DAMAGE:
            continue
