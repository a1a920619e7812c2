"""The pages of a Parquet file, looked at before pyarrow decodes them.

The description at the end of a table may understate what its pages become, and a short page can stand for gigabytes:
one long value in a dictionary and a run of indices, a run of levels, a header that claims 2 GB. What counts is what the
header of each page says, since pyarrow asks for that much memory, and the longest value of a dictionary.
"""

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from .thrift import I32, STRUCT, Fields, structure
from .unpack import RATIO, check_table, most

WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8, "BYTE_ARRAY": 4}  # a place: 4
BY_DICTIONARY, BY_PREFIX = (2, 8), 7  # encodings: values are numbers in a dictionary; parts of the value before
ENTRY = 16  # bytes that pyarrow holds for a value of a dictionary
LEVELS = 4  # bytes per value
PACKINGS = {"LZ4": "lz4_raw"}  # names of pyarrow's codecs other than those of the format


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

    def __init__(self, budget: Budget, chunk: Any, column: Any):
        self.budget, self.left, self.packing = budget, chunk.num_values, chunk.compression
        starts = [at for at in (chunk.dictionary_page_offset, chunk.data_page_offset) if at]
        self.start, self.size = min(starts, default=0), chunk.total_compressed_size
        self.text = chunk.physical_type == "BYTE_ARRAY"
        nested = column.max_definition_level + column.max_repetition_level > 0
        self.width = (WIDTHS.get(chunk.physical_type) or max(0, column.length)) + LEVELS * nested
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


def check_pages(file: pa.NativeFile, table: pq.ParquetFile, groups: Iterable[int], columns: Iterable[str] = ()) -> None:
    """ValueError for row groups that would take too much memory together, of the columns that are named or of all."""
    for part in _chunks(table.metadata, Budget(file.size()), groups, set(columns)):
        part.feed(file.read_at(part.size, part.start))


def _chunks(metadata: Any, budget: Budget, groups: Iterable[int], columns: set[str]) -> Iterator[Chunk]:
    for number in groups:
        group = metadata.row_group(number)
        for place in range(group.num_columns):
            chunk = group.column(place)
            if not columns or chunk.path_in_schema.partition(".")[0] in columns:
                yield Chunk(budget, chunk, metadata.schema.column(place))


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
        self._parts = {}
        for part in _chunks(made.metadata, Budget(size), range(made.num_row_groups), set()):
            self._parts.setdefault(part.start, []).append(part)
        return made

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


def _longest(packed: bytes, size: int, packing: str) -> int:
    """Bytes of the longest value of a dictionary page that unpacks to `size` bytes; `size` when it does not unpack."""
    try:
        name = PACKINGS.get(packing, packing.lower())
        data = packed if packing == "UNCOMPRESSED" else pa.decompress(packed, size, name, asbytes=True)
    except (pa.ArrowException, OSError, ValueError):
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
