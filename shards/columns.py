"""`manifest.columns`: the numbers of `manifest.parquet` uncompressed, which the processes of a machine map together.

    0      a line of JSON: version, rows, the table that they are of (its digest and stamp), facts about all of them
    4096   TYPES of all rows: column after column, little-endian, without gaps

Mapping takes no time and no memory of a process for any number of rows: the kernel reads the pages of those that are
used, once for all ranks. Whole columns, not rows of 80 bytes, because an order by shard or class reads one number of
every row. The file follows from the table, so the table is what is kept: `verify_shards.py --repair` writes the columns
again, and a set without them opens by its table. It is replaced as a whole, never written in place, because a mapped
file that shrinks ends the process.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .errors import UserError, command
from .files import atomic, digest_of
from .names import open_file
from .table import TABLE, Table, stamp
from .unpack import parsed_json

FILE = "manifest.columns"
VERSION = 1  # of what follows
HEAD = 4096  # bytes
HEADED = {"version": int, "rows": int, "table": str, "stamp": str, "uids": str, "largest": int}
NUMBERS = {  # the widest first, so that each column is aligned
    "uid": np.dtype("<u8"),
    "bytes": np.dtype("<i8"),
    "offset": np.dtype("<i8"),
    "beton": np.dtype("<i8"),
    "hw": np.dtype(("<i4", (2,))),
    "label": np.dtype("<i4"),
    "shard": np.dtype("<i4"),
}
TYPES = NUMBERS | {"sha256": np.dtype(("u1", (32,)))}
IN_TABLE = ("uid", "label", "height", "width", "bytes", "shard", "offset", "beton")  # NUMBERS, as the table has them


@dataclass(frozen=True)
class Columns:
    """The numbers of the N samples of a table, read-only and mapped; pickled as the name of their file."""

    path: Path
    uid: np.ndarray  # as in `Manifest`
    label: np.ndarray
    hw: np.ndarray
    bytes: np.ndarray
    shard: np.ndarray
    offset: np.ndarray
    beton: np.ndarray
    sha256: np.ndarray  # [N, 32] uint8
    uids: str  # sha256 of the uids, in hexadecimal
    largest: int  # px, the area of the largest image

    @classmethod
    def open(cls, path: Path) -> "Columns":
        """Map a file that `fault` finds whole."""
        with pa.memory_map(os.fspath(path)) as file:  # Python's mmap would keep the file open
            head, data = parsed_json(file.read(HEAD)), file.read_buffer(file.size() - HEAD)
        places, rows = _places(head["rows"])[0], head["rows"]
        arrays = {name: np.ndarray(rows, kind, data, places[name] - HEAD) for name, kind in TYPES.items()}
        return cls(path, **arrays, uids=head["uids"], largest=head["largest"])

    def numbers(self) -> dict[str, Any]:
        """NUMBERS by name."""
        return {name: getattr(self, name) for name in NUMBERS}

    def __reduce__(self) -> tuple[Any, ...]:
        return Columns.open, (self.path,)


def numbers_of(table: pa.Table) -> dict[str, Any]:
    """NUMBERS of a table with the columns IN_TABLE."""
    arrays = {name: table[name].to_numpy() for name in IN_TABLE}
    hw = np.stack([arrays.pop("height"), arrays.pop("width")], axis=1)
    return arrays | {"hw": hw}


def digests_of(table: pa.Table) -> np.ndarray:
    """[N, 32] uint8: the column sha256 of a table."""
    whole = table["sha256"].combine_chunks()
    return np.frombuffer(whole.buffers()[1], np.uint8).reshape(-1, 32)[whole.offset :][: len(whole)]


class Facts:
    """What the first line says, collected from parts in order."""

    def __init__(self) -> None:
        self.rows, self.uids, self.largest = 0, hashlib.sha256(), 0

    def add(self, arrays: dict[str, np.ndarray]) -> None:
        """Count the next part."""
        self.rows += len(arrays["uid"])
        self.uids.update(np.ascontiguousarray(arrays["uid"], "<u8").data)
        self.largest = max(self.largest, area(arrays["hw"]))

    def line(self, root: Path) -> bytes:
        """The first line of the columns in folder `root`, HEAD bytes."""
        table = root / TABLE
        values = VERSION, self.rows, digest_of(table), stamp(table), self.uids.hexdigest(), self.largest
        return json.dumps(dict(zip(HEADED, values, strict=True))).ljust(HEAD - 1).encode() + b"\n"


def area(hw: np.ndarray) -> int:
    """Pixels of the largest of images of sizes `hw` [N, 2]."""
    return int(hw.prod(axis=1, dtype=np.int64).max(initial=0))


def write_columns(root: Path) -> None:
    """Write the columns of the table in folder `root`, a part at a time."""
    table, facts = Table(root / TABLE), Facts()
    places, _ = _places(len(table))
    with atomic(root / FILE) as file:
        for arrays in _parts(table):
            for name, values in arrays.items():
                file.seek(places[name] + facts.rows * TYPES[name].itemsize)
                file.write(np.ascontiguousarray(values, TYPES[name].base))
            facts.add(arrays)
        file.seek(0)
        file.write(facts.line(root))


def fault(root: Path, rows: int, digest: str) -> str:
    """Why the columns in folder `root` are not those of its table, of `rows` rows and with this digest; "" if they are.

    Compares what both say of themselves, not every number: `differs` does that.
    """
    path = root / FILE
    try:
        with open_file(path) as file:
            head, size = parsed_json(file.read(HEAD)), path.stat().st_size
        if other := [name for name, kind in HEADED.items() if type(head[name]) is not kind]:
            raise ValueError(f"its {other[0]} is {str(head[other[0]])[:40]}")
        version, held, table, mark, _, _ = (head[name] for name in HEADED)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"is absent or damaged ({error})"
    if version != VERSION:
        return f"has version {version}, this code reads {VERSION}"
    if held != rows:
        return f"has {held} rows, the set has {rows}"
    if size != (end := _places(rows)[1]):
        return f"has {size} bytes, its {rows} rows take {end}"
    if mark != stamp(root / TABLE) or (digest and table != digest):
        return f"was made of another {TABLE}"
    return ""


def differs(root: Path, rows: int, digest: str) -> str:
    """`fault`, or where a byte is not what the table makes it: reads all of both, a part at a time."""
    if reason := fault(root, rows, digest):
        return reason
    mapped, facts = Columns.open(root / FILE), Facts()
    for arrays in _parts(Table(root / TABLE)):
        own = slice(facts.rows, facts.rows + len(arrays["uid"]))
        for name, values in arrays.items():
            if not np.array_equal(values, getattr(mapped, name)[own]):
                return f"differs from {TABLE} in {name}"
        facts.add(arrays)
    with open_file(root / FILE) as file:
        return "" if file.read(HEAD) == facts.line(root) else "has another first line than it was built with"


def opened(root: Path, rows: int, digest: str) -> Columns:
    """The columns in folder `root`; UserError when they are not those of its table."""
    if reason := fault(root, rows, digest):
        repair = command("python tools/verify_shards.py", root, "--repair")
        raise UserError(f"{root / FILE} {reason}: `{repair}` writes it again, or remove it to read {TABLE}, slowly")
    return Columns.open(root / FILE)


def _parts(table: Table) -> Iterator[dict[str, np.ndarray]]:
    """TYPES of a table, one part of its rows after the other."""
    for part in table.parts(*IN_TABLE, "sha256"):
        yield numbers_of(part) | {"sha256": digests_of(part)}


def _places(rows: int) -> tuple[dict[str, int], int]:
    """The first byte of each column, and the end of the file."""
    places, at = {}, HEAD
    for name, kind in TYPES.items():
        places[name] = at
        at += rows * kind.itemsize
    return places, at
