"""Images of parquet files, copied into a file that allows random reads: one pass, bounded memory."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import UserError
from ..files import atomic, make_folder
from ..pages import Watched
from ..progress import Bar
from .local import Local
from .readers import Ranges
from .source import Source
from .storage import Storage

BATCH = 64  # rows in memory
BUFFER = 1 << 22  # bytes of a column that are read at once
BYTES, INDEX = "pictures.bin", "pictures.npz"


@dataclass(frozen=True)
class Unstaged:
    """The images of tables before `stage` copies them: no reads; a place is (table, row in it)."""

    storage: Storage
    files: tuple[str, ...]
    column: str  # of the bytes, `image.bytes`

    def size(self, place: Any) -> int:
        return 0

    def read(self, place: Any) -> bytes:
        raise OSError("images in parquet files are read in one pass: stage the source first")


def stage(source: Source, folder: Path, rows: np.ndarray) -> Source:
    """Copy the images of `rows` into `folder`; return the same source, which reads these images from there.

    A complete copy of the same rows from an earlier call is used again, an incomplete one is written again. OSError
    when `folder` cannot be written."""
    reader = source.reader
    assert isinstance(reader, Unstaged)
    rows = np.sort(rows)
    places = np.asarray(source.places)[rows]
    index, digest = folder / INDEX, _digest(reader, places)
    ranges = _complete(index, folder / BYTES, digest)
    if ranges is None:
        make_folder(folder)
        index.unlink(missing_ok=True)  # an index must not outlive its images
        ranges = np.zeros((len(rows), 2), np.int64)
        order = np.lexsort((places[:, 1], places[:, 0]))
        with atomic(folder / BYTES) as file, Bar(len(rows), "img", "copying from parquet") as bar:
            for row, image in zip(order, _images(reader, places[order]), strict=True):
                ranges[row] = file.tell(), len(image)
                file.write(image)
                bar.update()
        with atomic(index) as file:
            np.savez(file, digest=np.array(digest), lies=ranges)
    staged = np.tile(np.array([0, -1, 0], np.int64), (len(source), 1))
    staged[rows, 1:] = ranges
    return replace(source, reader=Ranges(Local(folder), (BYTES,)), places=staged, stage=None)


def _digest(reader: Unstaged, places: np.ndarray) -> str:
    """A hash of the tables' names and sizes, and of the rows."""
    tables = [reader.storage.show(), reader.column, [(file, reader.storage.size(file)) for file in reader.files]]
    return hashlib.sha256(json.dumps(tables).encode() + places.astype(np.int64).tobytes()).hexdigest()


def _complete(index: Path, images: Path, digest: str) -> np.ndarray | None:
    """[n, 2] (offset, length) of the rows' images in a complete copy of an earlier call; None without one."""
    try:
        with np.load(index) as found:
            ranges = found["lies"]
            if str(found["digest"]) == digest and images.stat().st_size == ranges[:, 1].sum():
                return ranges
    except (OSError, ValueError, KeyError, EOFError):
        pass
    return None


def _images(reader: Unstaged, places: np.ndarray) -> Iterator[bytes]:
    """The images at ascending places; a null is an empty image."""
    for number in np.unique(places[:, 0]).tolist():
        name = reader.files[number]
        rows = places[places[:, 0] == number, 1]
        try:
            with reader.storage.open(name) as file, Watched(file).table(BUFFER) as table:
                yield from _table_images(table, reader.column, rows)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise UserError(f"{reader.storage.show(name)} is damaged or cannot be read ({error})") from error


def _table_images(table: pq.ParquetFile, column: str, rows: np.ndarray) -> Iterator[bytes]:
    """The images of one table's ascending rows; row groups without any of them are not read."""
    first = 0
    for group in range(table.num_row_groups):
        length = table.metadata.row_group(group).num_rows
        if ((first <= rows) & (rows < first + length)).any():
            at = first
            for batch in table.iter_batches(BATCH, [group], [column]):
                values: Any = batch.column(0)
                values = values.field("bytes") if pa.types.is_struct(values.type) else values
                for row in rows[(at <= rows) & (rows < at + len(values))]:
                    yield values[int(row - at)].as_py() or b""
                at += len(values)
        first += length
