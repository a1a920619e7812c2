"""SEED's tables: a row is key, label, ..., image in base64, separated by tabs; `.lineidx` has the offsets of rows."""

import base64
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from ..errors import UserError
from ..files import atomic
from .arrange import arranged
from .classes import classes_of
from .images import is_image
from .local import Local
from .packed import TABLES
from .source import Source
from .storage import Storage, beside, opening, storage

LOG = logging.getLogger(__name__)

HEAD = 256  # bytes of a row, enough for key and label
LONG_HEAD = 1 << 16
CHUNK = 1 << 24


@dataclass(frozen=True)
class TableRows:
    """Reads images from rows of a table; a place is (offset, length) of the row."""

    storage: Storage
    file: str

    def size(self, place: Any) -> int:
        return int(place[1]) * 3 // 4  # base64 takes 4 bytes for 3; the head is short

    def read(self, place: Any) -> bytes:
        start, length = map(int, place)
        row = self.storage.read(self.file, start, length).rstrip(b"\r\n")
        if b"\n" in row:
            raise UserError(
                f"the row at byte {start} of {self.file} is several rows: remove its .lineidx, it will be rewritten"
            )
        try:
            return base64.b64decode(row.rpartition(b"\t")[2].strip(), validate=True)
        except ValueError as error:
            raise ValueError(f"the row at byte {start} of {self.file} ends in no base64: {error}") from error


def tsv(where: str | os.PathLike[str], split: str) -> Source:
    """The table of a split in a folder (val.tsv or test.tsv for val), or one table; classes are numbered."""
    where = os.fspath(where)
    with opening(where):
        files, name = _table(where, split)
        with files.open(name) as file:
            size = file.seek(0, 2)
            starts = _stored(files, name, size)
            heads = None if starts is None else _heads(file, starts, files.show(name))
            if starts is None or heads is None:
                starts = np.fromiter(_scan(file), np.int64)
                _store(files, name, starts)
                heads = _heads(file, starts, files.show(name))
    assert heads is not None
    label, keys = heads
    classes = classes_of(label, where)
    paths = [
        (f"{number}/" if classes else "") + key + ("" if is_image(key) else ".JPEG")
        for number, key in zip(label.tolist(), keys, strict=True)
    ]
    places = np.stack([starts, np.diff(starts, append=size)], axis=1)
    return arranged(where, split, TableRows(files, name), classes, label, paths, places)


def _table(where: str, split: str) -> tuple[Storage, str]:
    """The folder and the name of the table."""
    if where.lower().endswith(".tsv"):
        return beside(where)
    files = storage(where)
    for name in TABLES[split]:
        if files.exists(name):
            return files, name
    names = " and no ".join(TABLES[split])
    raise UserError(f"{where} has no {names}: the {split} split is in it; or name a .tsv file")


def _stored(files: Storage, name: str, size: int) -> np.ndarray | None:
    """The offsets in the `.lineidx` beside the table; None without one, or if its offsets cannot be right."""
    index = os.path.splitext(name)[0] + ".lineidx"
    if not files.exists(index):
        return None
    try:
        starts = np.array(list(map(int, files.read(index).split())), np.int64)
    except (ValueError, OverflowError):
        starts = np.zeros(0, np.int64)
    if len(starts) and starts[0] == 0 and (np.diff(starts) > 0).all() and starts[-1] < size:
        return starts
    LOG.warning(f"warning: {files.show(index)} does not fit {name}: it is rewritten")
    return None


def _heads(file: BinaryIO, starts: np.ndarray, name: str) -> tuple[np.ndarray, list[str]] | None:
    """Labels [N] int64 and keys, from the first bytes of each row; None when the offsets are not those of the rows."""
    label, keys = np.empty(len(starts), np.int64), []
    for row, start in enumerate(starts.tolist()):
        file.seek(max(0, start - 1))
        if start and file.read(1) != b"\n":
            LOG.warning(f"warning: the .lineidx of {name} points into row {row}: it is rewritten")
            return None
        head = file.read(HEAD)
        if head.count(b"\t") < 2:
            head += file.read(LONG_HEAD)
        fields = head.split(b"\n", 1)[0].split(b"\t", 2)
        try:
            key, label[row], _ = fields[0].strip().decode(), int(fields[1]), fields[2]
        except (ValueError, IndexError, OverflowError) as error:
            raise UserError(
                f"{name} row {row + 1} at byte {start} begins {head[:40]!r}: a row is key, label, image in base64"
            ) from error
        keys.append(key)
    if len(starts):
        file.seek(int(starts[-1]))
        if file.readline() and file.read(1):
            LOG.warning(f"warning: {name} has rows after the last of its .lineidx: it is rewritten")
            return None
    return label, keys


def _scan(file: BinaryIO) -> Iterator[int]:
    """Offsets of rows: 0, and the byte after each line break except the last."""
    size, at = file.seek(0, 2), file.seek(0)
    if size:
        yield 0
    while chunk := file.read(CHUNK):
        breaks = np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n")) + at + 1
        yield from breaks[breaks < size].tolist()
        at += len(chunk)


def _store(files: Storage, name: str, starts: np.ndarray) -> None:
    """Write the `.lineidx` beside a local table, for the next time; a folder that cannot be written is no error."""
    if isinstance(files, Local):
        path = files.root / name
        with suppress(OSError), atomic(path.with_suffix(".lineidx")) as file:
            file.write(b"".join(b"%d\n" % start for start in starts.tolist()))
