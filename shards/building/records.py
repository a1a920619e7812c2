"""What a build has finished: one record per unit, written when the unit's bytes are on the disk.

A record holds the unit's manifest rows, the digest of its tar, and the state of the `.beton` after it. An interrupted
build continues after its last record; when all records exist they are merged into the manifest. The file is a Parquet
file and its sha256: one that differs, or has none as those of earlier versions, counts as absent.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import UserError
from ..files import atomic
from ..formats.tar import index_path
from ..info import JSON
from ..names import open_file, within
from ..pages import check_pages
from ..table import FIELDS, SCHEMA
from ..unpack import parsed_json

NOTE = b"viewstream"
SEAL = hashlib.sha256().digest_size
ROWS = pa.schema(  # SCHEMA, and what the .beton needs to continue: where its bytes are, how many, decoded or not
    [*SCHEMA, *FIELDS, ("where", pa.int64()), ("stored", pa.int64()), ("raw", pa.bool_()), ("pixels", pa.binary(32))]
)


@dataclass(frozen=True)
class Record:
    """A finished unit. Its rows stay on the disk, so a build of any number of images holds none of them."""

    path: Path
    samples: int
    digest: str  # of the unit's plan: the record is valid only for that unit
    tar: JSON | None  # file, bytes, samples, digest; None when every sample was skipped, or no tars are built
    beton: tuple[int, int]  # page size, and where the next sample goes
    kinds: dict[str, int]  # what was normalized
    suspect: tuple[JSON, ...]  # source and cause
    skipped: tuple[JSON, ...]  # source and cause

    def rows(self, *columns: str) -> pa.Table:
        """Columns of ROWS. UserError if the file was damaged since the build began."""
        try:
            return pq.read_table(_opened(self.path), columns=[*columns]).replace_schema_metadata(None)
        except ValueError as error:
            raise UserError(f"{self.path} is damaged ({error}): the same command makes its shard again") from error


def write(folder: Path, number: int, rows: pa.Table, **note: Any) -> Record:
    """Write the record of unit `number`, whose rows are of schema ROWS; `note` are the other values of a `Record`."""
    path = _path(folder, number)
    table = io.BytesIO()
    pq.write_table(rows.replace_schema_metadata({NOTE: json.dumps(note)}), table, compression="zstd")
    with atomic(path) as file:
        file.write(sealed(table.getvalue()))
    return Record(path, len(rows), **note)


def sealed(data: bytes) -> bytes:
    """A record's bytes with their digest."""
    return data + hashlib.sha256(data).digest()


def read(folder: Path, digests: Sequence[str]) -> tuple[list[Record], int]:
    """The records of the first units, up to one that is absent, has another digest than `digests` or lacks its tar.

    Later records are deleted, because their bytes would follow those of another unit; returns how many these were.
    """
    records: list[Record] = []
    for number, digest in enumerate(digests):
        record = _read(_path(folder, number))
        if record is None or record.digest != digest or not _has_tar(folder.parent, record):
            break
        records.append(record)
    return records, forget(folder, first=len(records))


def read_any(folder: Path, digests: Sequence[str], names: dict[str, int]) -> dict[int, Record]:
    """The records in `folder` of any units, by number, of which each has its digest and its tar among `names`, the
    files of the set with their sizes. For a build by units, which do not depend on each other."""
    found = {}
    for number, digest in enumerate(digests):
        record = _read(_path(folder, number))
        if record and record.digest == digest and _is_whole(record, names):
            found[number] = record
    return found


def _is_whole(record: Record, names: dict[str, int]) -> bool:
    """Whether the tar of a unit that was built apart is there, with its index if the set keeps it."""
    if record.tar is None:
        return not record.samples
    file = record.tar["file"]
    return names.get(file) == record.tar["bytes"] and ("/" in file or str(index_path(Path(file))) in names)


def forget(folder: Path, first: int = 0) -> int:
    """Delete the records of units `first` and later; how many there were."""
    paths = [path for path in folder.glob("*.parquet") if path.stem.isdecimal() and int(path.stem) >= first]
    for path in paths:
        path.unlink()
    return len(paths)


def _has_tar(out: Path, record: Record) -> bool:
    if record.tar is None:
        return True
    path = within(out, record.tar["file"])
    return path.exists() and path.stat().st_size == record.tar["bytes"] and index_path(path).exists()


def _read(path: Path) -> Record | None:
    try:
        with _opened(path) as whole, pq.ParquetFile(whole) as file:
            check_pages(whole, file, range(file.num_row_groups))
            schema, samples = file.schema_arrow, file.metadata.num_rows
        note = parsed_json(schema.metadata[NOTE])
        note |= {name: tuple(note[name]) for name in ("beton", "suspect", "skipped")}
        if schema.names != ROWS.names or not _sound(**note):  # of another version, or damaged
            return None
        return Record(path, samples, **note)
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError, AttributeError):
        return None  # absent, torn or damaged: the unit is made again


def _opened(path: Path) -> pa.BufferReader:
    """The Parquet file of a record. ValueError if it is not as it was written."""
    with open_file(path) as file:
        data = memoryview(file.read())
    if hashlib.sha256(data[:-SEAL]).digest() != data[-SEAL:]:
        raise ValueError("its sha256 is another")
    return pa.BufferReader(data[:-SEAL])


def _sound(digest: Any, tar: Any, beton: Any, kinds: Any, suspect: Any, skipped: Any) -> bool:
    """Whether the values are of the kinds that `write` takes."""
    named = all(isinstance(row, dict) and row.keys() == {"source", "cause"} for row in (*suspect, *skipped))
    line = tar is None or (isinstance(tar["file"], str) and type(tar["bytes"]) is type(tar["samples"]) is int)
    counted = all(type(number) is int and number >= 0 for number in (*beton, *kinds.values()))
    return isinstance(digest, str) and named and line and counted and len(beton) == 2


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.parquet"
