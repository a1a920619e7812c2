"""What a build has finished: a record a unit, written after the unit's bytes are on the disk.

A record holds the unit's manifest rows, the checksum of its tar and the state of the `.beton` behind it. An interrupted
build goes on behind its last record; records are folded into the manifest when all are there.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ..files import atomic
from ..formats.tar import index_path
from ..manifest import JSON, SCHEMA

NOTE = b"viewstream"
ROWS = pa.schema(
    [*SCHEMA, ("where", pa.int64()), ("stored", pa.int64()), ("raw", pa.bool_()), ("pixels", pa.binary(32))]
)  # the .beton's own


class Record(NamedTuple):
    """A finished unit."""

    rows: pa.Table  # of ROWS
    digest: str  # of the unit's plan: a record counts only for the unit that it was made of
    tar: JSON | None  # file, bytes, samples, digest; None when every sample was skipped, or no tars are built
    beton: tuple[int, int]  # page size, and where the next sample goes
    kinds: dict[str, int]
    suspect: list[JSON]
    skipped: list[JSON]

    def write(self, folder: Path, number: int) -> None:
        note = json.dumps({name: value for name, value in self._asdict().items() if name != "rows"})
        with atomic(_path(folder, number)) as file:
            pq.write_table(self.rows.replace_schema_metadata({NOTE: note}), file, compression="zstd")


def read(folder: Path, digests: Sequence[str]) -> tuple[list[Record], int]:
    """The records of the first units, as far as they are there, of these digests, and with their tars beside `folder`;
    and how many did not fit. Those are gone: what lies behind another unit than before must never count again."""
    records: list[Record] = []
    for number, digest in enumerate(digests):
        record = _read(_path(folder, number))
        if record is None or record.digest != digest or not _has_tar(folder.parent, record):
            break
        records.append(record)
    return records, forget(folder, behind=len(records))


def forget(folder: Path, behind: int = 0) -> int:
    """Only the first `behind` units count as finished from now on; how many more there were."""
    paths = [path for path in folder.glob("*.parquet") if int(path.stem) >= behind]
    for path in paths:
        path.unlink()
    return len(paths)


def _has_tar(out: Path, record: Record) -> bool:
    if record.tar is None:
        return True
    path = out / record.tar["file"]
    return path.exists() and path.stat().st_size == record.tar["bytes"] and index_path(path).exists()


def _read(path: Path) -> Record | None:
    try:
        table = pq.read_table(path)
        note = json.loads(table.schema.metadata[NOTE])
        return Record(table.replace_schema_metadata(None), **{**note, "beton": tuple(note["beton"])})
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError):
        return None  # absent or torn: the unit is made again


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.parquet"
