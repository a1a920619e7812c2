"""`manifest.parquet`: one row per sample, compressed, for every tool that reads Parquet."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import UserError
from .files import atomic
from .names import open_file
from .pages import check_pages, description
from .unpack import check_table

TABLE = "manifest.parquet"
SCHEMA = pa.schema(
    [
        ("uid", pa.uint64()),  # `uid_of` the key
        ("key", pa.string()),  # class/stem, unique in the set
        ("label", pa.int32()),  # -1 = unlabeled
        ("source", pa.string()),  # where the image came from, relative to the source's root
        ("height", pa.int32()),  # px, of the stored image
        ("width", pa.int32()),
        ("bytes", pa.int64()),  # size of the stored JPEG
        ("sha256", pa.binary(32)),  # digest of the stored JPEG
        ("shard", pa.int32()),  # tar number, -1 = not in a tar
        ("offset", pa.int64()),  # first byte of the JPEG in its tar
        ("beton", pa.int64()),  # sample number in the .beton, -1 = not in one
    ]
)
FIELDS = pa.schema(  # of a set whose tars hold further members: a value for each of `DatasetInfo.fields`
    [
        ("field_offset", pa.list_(pa.int64())),  # first byte in the tar, -1 = the sample has no such member
        ("field_bytes", pa.list_(pa.int64())),  # -1 = as above
    ]
)
GROUP = 1 << 17  # rows that are compressed together: the least that is read, and the most that a build holds
MAGIC = b"PAR1"  # at both ends of a Parquet file


def write_table(path: Path, schema: pa.Schema, parts: Iterable[pa.Table]) -> None:
    """Write a table in row groups of GROUP; the bytes do not depend on how the rows are divided into `parts`."""
    with atomic(path) as file, pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=False) as writer:
        for group in _groups(parts, schema):
            writer.write_table(group, row_group_size=GROUP)


def _groups(parts: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """The same rows in tables of GROUP rows, each in one piece; the last is smaller."""
    held: list[pa.Table] = []
    for part in parts:
        assert part.schema == schema
        held.append(part)
        while sum(map(len, held)) >= GROUP:
            whole = pa.concat_tables(held)
            yield whole.slice(0, GROUP).combine_chunks()
            held = [whole.slice(GROUP)]
    if sum(map(len, held)):
        yield pa.concat_tables(held).combine_chunks()


class Table:
    """A table on the disk, of which only the columns and row groups that are asked for are read.

    UserError when it is absent, damaged, of another schema, or would unpack to more than it may."""

    def __init__(self, path: Path):
        self.path, self._lock = path, Lock()
        with self._reading():
            open_file(path).close()  # a pipe is refused, where mapping it would wait
            self._mapped = pa.memory_map(os.fspath(path))
            self.file = pq.ParquetFile(self._mapped)
            check_table(self.file.metadata, self._mapped.size())
            kinds = {field.name: field.type for field in self.file.schema_arrow}
            for field in (*SCHEMA, *(FIELDS if kinds.keys() & set(FIELDS.names) else ())):
                if kinds.get(field.name) != field.type:
                    raise ValueError(f"its column {field.name} is {kinds.get(field.name)}, not {field.type}")
        self._last = "", -1, pa.table({})  # column, number and content of the row group that `values` read last

    def __len__(self) -> int:
        return self.file.metadata.num_rows

    @cached_property
    def ends(self) -> np.ndarray:
        """[G] the row after the last one of each row group."""
        metadata = self.file.metadata
        return np.cumsum([metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)])

    def columns(self, *names: str) -> pa.Table:
        """Whole columns. UserError when they are damaged."""
        with self._reading():
            check_pages(self._mapped, self.file, range(self.file.num_row_groups), names, self._described)
            return _whole(self.file.read([*names]))

    def parts(self, *names: str) -> Iterator[pa.Table]:
        """Columns in tables of at most GROUP rows, one after the other. UserError when they are damaged."""
        with self._reading():
            check_pages(self._mapped, self.file, range(self.file.num_row_groups), names, self._described)
        batches = self.file.iter_batches(GROUP, columns=[*names])
        while True:
            with self._reading():
                if (batch := next(batches, None)) is None:
                    return
                part = _whole(pa.Table.from_batches([batch]))
            yield part

    def values(self, column: str, at: np.ndarray) -> list[Any]:
        """The values of a column in rows `at` [n], from any thread; one row group is in memory at a time."""
        group, out = np.searchsorted(self.ends, at, side="right"), np.empty(len(at), object)
        for number in np.unique(group).tolist():
            part = self._group(column, number)[column]
            own = np.flatnonzero(group == number)
            out[own] = part.take(pa.array(at[own] - (self.ends[number] - len(part)))).to_pylist()
        return out.tolist()

    def _group(self, column: str, number: int) -> pa.Table:
        with self._lock:
            if self._last[:2] != (column, number):
                with self._reading():
                    check_pages(self._mapped, self.file, [number], [column], self._described)
                    self._last = column, number, _whole(self.file.read_row_group(number, [column]))
            return self._last[2]

    @cached_property
    def _described(self) -> Any:
        return description(self._mapped)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, KeyError, pa.ArrowException, MemoryError) as error:
            cause = str(error).replace("\n", " ")
            raise UserError(f"{self.path} is absent or damaged ({cause}): rebuild the set") from error


def _whole(table: pa.Table) -> pa.Table:
    """The table; ValueError for a row without a value, or a name that is not UTF-8."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        if column.null_count:
            raise ValueError(f"its column {name} lacks {column.null_count} values")
        if pa.types.is_string(column.type):
            column.validate(full=True)
    return table


def stamp(path: Path) -> str:
    """sha256, in hexadecimal, of the table's description at its end, which names the place, size, minimum and maximum
    of each part: it changes when a table is written again, and takes no time for any number of rows.

    "" when the file is no whole table."""
    try:
        with open_file(path) as file:
            file.seek(-8, 2)
            length, magic = int.from_bytes(file.read(4), "little"), file.read(4)
            file.seek(-8 - length, 2)
            return hashlib.sha256(file.read(length)).hexdigest() if magic == MAGIC else ""
    except OSError:
        return ""
