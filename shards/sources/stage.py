"""Images of parquet files, copied to where they can be read at random: one pass, bounded memory."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ..errors import UserError
from ..files import atomic
from .local import Local
from .readers import Ranges
from .source import Source
from .storage import Storage

BATCH = 64  # rows in memory
BUFFER = 1 << 22  # bytes of a column that is read ahead
BYTES, INDEX = "pictures.bin", "pictures.npz"


@dataclass(frozen=True)
class Rows:
    """The images of tables, before they are staged: it says only where they are."""

    storage: Storage
    files: tuple[str, ...]
    column: str  # of the bytes, `image.bytes`

    def size(self, place: Any) -> int:
        return 0

    def read(self, place: Any) -> bytes:
        raise OSError("images in parquet files are read in one pass: stage the source first")


def stage(source: Source, folder: Path, rows: np.ndarray) -> Source:
    """The same source, the images of `rows` in `folder`. What an earlier call finished there is used again if it is
    of the same rows; what it did not finish is begun anew. OSError when `folder` cannot take them."""
    reader = source.reader
    assert isinstance(reader, Rows)
    rows = np.sort(rows)
    places = np.asarray(source.places)[rows]  # (file, row)
    index, digest = folder / INDEX, _digest(reader, places)
    lies = _finished(index, folder / BYTES, digest)
    if lies is None:
        folder.mkdir(parents=True, exist_ok=True)
        index.unlink(missing_ok=True)  # it must not outlive its images
        lies = np.zeros((len(rows), 2), np.int64)
        order = np.lexsort((places[:, 1], places[:, 0]))
        with atomic(folder / BYTES) as file:
            shown = tqdm(_pictures(reader, places[order]), "staging", len(rows), unit="img", disable=None)
            for row, picture in zip(order, shown, strict=True):
                lies[row] = file.tell(), len(picture)
                file.write(picture)
        with atomic(index) as file:
            np.savez(file, digest=np.array(digest), lies=lies)
    staged = np.tile(np.array([0, -1, 0], np.int64), (len(source), 1))
    staged[rows, 1:] = lies
    return replace(source, reader=Ranges(Local(folder), (BYTES,)), places=staged, stage=None)


def _digest(reader: Rows, places: np.ndarray) -> str:
    """Names the tables as they are, and the rows."""
    tables = [reader.storage.show(), reader.column, [(file, reader.storage.size(file)) for file in reader.files]]
    return hashlib.sha256(json.dumps(tables).encode() + places.astype(np.int64).tobytes()).hexdigest()


def _finished(index: Path, pictures: Path, digest: str) -> np.ndarray | None:
    """Where an earlier call put the same rows."""
    try:
        with np.load(index) as found:
            lies = found["lies"]
            if str(found["digest"]) == digest and pictures.stat().st_size == lies[:, 1].sum():
                return lies
    except (OSError, ValueError, KeyError, EOFError):
        pass
    return None


def _pictures(reader: Rows, places: np.ndarray) -> Iterator[bytes]:
    """The images at ascending (file, row); one that is null is empty."""
    for number in np.unique(places[:, 0]).tolist():
        name = reader.files[number]
        wanted = places[places[:, 0] == number, 1]
        try:
            with reader.storage.open(name) as file, pq.ParquetFile(file, buffer_size=BUFFER) as table:
                yield from _of_table(table, reader.column, wanted)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{reader.storage.show(name)} is damaged or cannot be read ({error})") from error


def _of_table(table: pq.ParquetFile, column: str, wanted: np.ndarray) -> Iterator[bytes]:
    first = 0
    for group in range(table.num_row_groups):
        rows = table.metadata.row_group(group).num_rows
        if ((first <= wanted) & (wanted < first + rows)).any():
            at = first
            for batch in table.iter_batches(BATCH, [group], [column]):
                values: Any = batch.column(0)
                values = values.field("bytes") if pa.types.is_struct(values.type) else values
                for row in wanted[(at <= wanted) & (wanted < at + len(values))]:
                    yield values[int(row - at)].as_py() or b""
                at += len(values)
        first += rows
