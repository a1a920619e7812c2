"""The pages of a Parquet file, looked at before pyarrow decodes them.

The description at the end of a table may understate what its pages become, and a short page can stand for gigabytes:
one long value in a dictionary and a run of indices, a run of levels, a header that claims 2 GB. What counts is what the
header of each page says, since pyarrow asks for that much memory, and the longest value of a dictionary.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from .thrift import I32, I64, LIST, STRUCT, Fields, structure
from .unpack import RATIO, check_table, most

WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 4}  # a place: 4
BY_DICTIONARY, BY_PREFIX = (2, 8), 7  # encodings: values are numbers in a dictionary; parts of the value before
ENTRY = 16  # bytes that pyarrow holds for a value of a dictionary
LEVELS = 4  # bytes per value
PACKINGS = {1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}  # what pyarrow calls them


class Budget:
    """How much the pages of a file of `size` bytes may take in memory."""

    def __init__(self, size: int):
        self.size, self.limit, self.taken = size, most(size), 0

    def take(self, claimed: int) -> None:
        """ValueError when that is too much."""
        self.taken += claimed
        if self.taken > self.limit:
            raise ValueError(
                f"pages of its {self.size:,} bytes unpack to {self.taken:,} or more; {self.limit:,} is the limit, "
                f"{RATIO} times as many or 64 MiB"
            )


class Chunk:
    """The pages of one column in one row group, fed with their bytes in order."""

    def __init__(self, budget: Budget, chunk: Fields, column: Any):
        self.budget, self.left, self.packing = budget, chunk.get((5, I64), 0), chunk.get((4, I32), 0)
        starts = [at for at in (chunk.get((11, I64)), chunk.get((9, I64))) if at]
        self.start, self.size = min(starts, default=0), chunk.get((7, I64), 0)
        self.text = column.physical_type == "BYTE_ARRAY"
        nested = column.max_definition_level + column.max_repetition_level > 0
        self.width = (WIDTHS.get(column.physical_type) or max(0, column.length)) + LEVELS * nested
        self.held = b""  # the start of a header, or of a dictionary
        self.skip = 0  # bytes of the page that is passed over
        self.longest = 0  # bytes of the longest value in the dictionary
        if self.start < 0 or self.size < 0 or self.start + self.size > budget.size:
            raise ValueError(f"a column lies at {self.start:,} + {self.size:,}, outside of the file")

    def feed(self, data: bytes) -> None:
        """Look at the next bytes. ValueError when they are no pages, or become too much."""
        data, at, self.held = self.held + data, self.skip, b""
        while at < len(data) and self.left > 0:
            try:
                header, end = structure(data, at)
                body = _size(header, 3)
                if (7, STRUCT) in header and end + body > len(data):
                    raise IndexError  # a dictionary is looked at as a whole
            except IndexError:
                self.held, at = data[at:], len(data)
                break
            self._count(header, data[end : end + body])
            at = end + body
        self.skip = at - len(data)

    def _count(self, header: Fields, body: bytes) -> None:
        """Take what a page becomes from the budget."""
        unpacked = _size(header, 2)
        if dictionary := header.get((7, STRUCT)):
            self.budget.take(unpacked + _size(dictionary, 1) * (ENTRY + self.width))
            if self.text:
                self.longest = max(self.longest, _longest(body, unpacked, self.packing))
        for kind, encoding in ((5, 2), (8, 4)):  # the two versions of a page of data
            if page := header.get((kind, STRUCT)):
                values, coded = _size(page, 1), page.get((encoding, I32))
                each = self.longest if coded in BY_DICTIONARY else unpacked if coded == BY_PREFIX else 0
                self.budget.take(unpacked + values * (self.width + (each if self.text else 0)))
                self.left -= values


def check_pages(
    file: pa.NativeFile, table: pq.ParquetFile, groups: Iterable[int], columns: Iterable[str] = (), known: Any = None
) -> None:
    """ValueError for row groups that would take too much memory together, of the columns that are named or of all;
    `known`: what `description` of the file returned, if it is used again."""
    for part in _chunks(known or description(file), table.metadata.schema, Budget(file.size()), groups, set(columns)):
        part.feed(file.read_at(part.size, part.start))


def description(file: pa.NativeFile) -> list[Fields]:
    """The row groups of a table."""
    return _described(lambda at, length: file.read_at(length, at), file.size())


def _described(read: Callable[[int, int], bytes], size: int) -> list[Fields]:
    """The row groups of a file, as the description at its end has them."""
    length = int.from_bytes(read(size - 8, 4), "little")
    try:
        groups = structure(read(max(0, size - 8 - length), length), 0)[0].get((4, LIST), [])
    except IndexError as error:
        raise ValueError("its description is cut off") from error
    for group in groups:
        columns = group.get((1, LIST), [None]) if isinstance(group, dict) else [None]
        if not all(isinstance(column, dict) for column in columns):
            raise ValueError("its description has a row group without columns")
    return groups


def _chunks(
    groups_of: list[Fields], schema: Any, budget: Budget, groups: Iterable[int], columns: set[str]
) -> Iterator[Chunk]:
    for number in groups:
        found = groups_of[number][1, LIST] if number < len(groups_of) else []
        if len(found) != len(schema):
            raise ValueError("a row group has other columns than the table")
        for place, fields in enumerate(found):
            chunk = fields.get((3, STRUCT), {})
            name = (chunk.get((3, LIST)) or [b""])[0]
            if not columns or not isinstance(name, bytes) or name.decode(errors="replace") in columns:
                yield Chunk(budget, chunk, schema.column(place))


class Watched:
    """A file for pyarrow whose pages are looked at as it reads them, so that a remote file is read once."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._parts: dict[int, list[Chunk]] | None = None  # by the place where their next bytes are

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def table(self, buffer_size: int = 0) -> pq.ParquetFile:
        """The file as a table. ValueError for one that claims too much, and later for pages that become too much."""
        made = pq.ParquetFile(self, buffer_size=buffer_size, pre_buffer=False)  # else it reads several columns at once
        size = self._file.seek(0, 2)
        check_table(made.metadata, size)
        parts: dict[int, list[Chunk]] = {}
        schema, groups = made.metadata.schema, range(made.num_row_groups)
        for part in _chunks(_described(self._at, size), schema, Budget(size), groups, set()):
            parts.setdefault(part.start, []).append(part)
        self._parts = parts
        return made

    def _at(self, at: int, length: int) -> bytes:
        self._file.seek(at)
        return self._file.read(length)

    def read(self, length: int = -1) -> bytes:
        at = self._file.tell()
        data = self._file.read(length)
        if self._parts is not None:
            if not (parts := self._parts.pop(at, [])):
                raise ValueError(f"a column was read at {at:,}, where none begins or goes on")
            for part in parts:
                part.feed(data)
            self._parts.setdefault(at + len(data), []).extend(parts)
        return data


def _longest(packed: bytes, size: int, packing: int) -> int:
    """Bytes of the longest value of a dictionary page that unpacks to `size` bytes; `size` when it does not unpack."""
    try:
        data = pa.decompress(packed, size, PACKINGS[packing], asbytes=True) if packing else packed
    except (pa.ArrowException, OSError, ValueError, KeyError):
        return size
    at = longest = 0
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        longest, at = max(longest, length), at + 4 + length
    return min(longest, size)


def _size(fields: Fields, number: int) -> int:
    if (value := fields.get((number, I32), 0)) < 0:
        raise ValueError(f"a page claims {value:,} bytes or values")
    return value
