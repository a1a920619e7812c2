"""Tables of the Hugging Face hub: a column of images (bytes and path), a column of labels.

Only labels and paths are read here. Such a file allows no random reads of images: `stage` copies those of a build.
"""

import os
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import UserError
from .arrange import arranged
from .classes import classes_of, labeled, numbered
from .columns import Columns, columns_of
from .source import Source, key_of
from .split import archives
from .stage import Unstaged, stage
from .storage import Storage, beside, opening, storage

IMAGENET = re.compile(r"(?P<stem>.+)_(?P<wnid>n\d{8})(?P<suffix>\.\w+)")  # n01440764_10026_n01440764.JPEG

Named = tuple[tuple[str, ...], np.ndarray, list[str]]  # classes, label [N], paths [N]


def parquet(where: str | os.PathLike[str], split: str) -> Source:
    """The files of a split in a folder (or in data/ there), or one file.

    Classes are named by the schema, else by the folders of the paths, else numbered. ImageNet gets back its wnids and
    the file names of its archives."""
    where = os.fspath(where)
    with opening(where):
        if where.lower().endswith(".parquet"):
            files, name = beside(where)
            tables = [name]
        else:
            files = storage(where)
            tables = archives(files, ".parquet", split)
        if not tables:
            raise UserError(f"{where} has no .parquet file of the {split} split: name one, as in {split}-00000.parquet")
        columns, label, stored, places = _rows(files, tables)
    if not len(label):
        raise UserError(f"{where} holds no images for {split}: its tables have no rows")
    names = [(path or "").rpartition("/")[2] for path in stored]
    named = _imagenet(label, names) if labeled(label, where) else None
    if named is None:
        folders = ((path or "").rpartition("/")[0] for path in stored)
        classes = classes_of(label, where, folders, listed=columns.names, listed_in="its schema")
        named = classes, label, _paths(classes, label, names)
    return arranged(where, split, Unstaged(files, tuple(tables), columns.image), *named, places, stage)


def _rows(files: Storage, tables: list[str]) -> tuple[Columns, np.ndarray, list[str | None], np.ndarray]:
    """(columns, label [N] with -1 for none, stored paths [N], places [N, 2] as (table, row in it)) of all tables."""
    columns = None
    labels: list[np.ndarray] = []
    paths: list[str | None] = []
    places: list[np.ndarray] = []
    for number, name in enumerate(tables):
        try:
            with files.open(name) as file, pq.ParquetFile(file) as table:
                columns = columns or columns_of(table.schema_arrow, files.show(name))
                rows = table.metadata.num_rows
                needed = [c for c in (columns.label, columns.path) if c]
                read = table.read(columns=needed) if needed else None
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise UserError(f"{files.show(name)} is damaged or has other columns ({error}): fetch it again") from error
        try:
            label = read[columns.label] if read and columns.label else pa.nulls(rows, pa.int64())
            labels.append(label.cast(pa.int64()).fill_null(-1).to_numpy())
            paths += _strings(read, columns.path) if read and columns.path else [None] * rows
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise UserError(
                f"{files.show(name)} has a label or a path that is invalid ({error}): correct it"
            ) from error
        except KeyError as error:
            raise UserError(f"{files.show(name)} has no column {error}, other files of {files.show()} do") from error
        places.append(np.stack([np.full(rows, number), np.arange(rows)], axis=1))
    assert columns is not None
    return columns, np.concatenate(labels), paths, np.concatenate(places)


def _strings(table: pa.Table, column: str) -> list[Any]:
    """The strings of field `field` in a column named `struct.field`."""
    struct, _, field = column.partition(".")
    chunks = [chunk.field(field).cast(pa.string()) for chunk in table[struct].chunks]
    return pa.chunked_array(chunks, pa.string()).to_pylist()


def _paths(classes: tuple[str, ...], label: np.ndarray, names: list[str]) -> list[str]:
    """A path class/name for each row; the row's number replaces a missing name and makes a repeated one unique."""
    paths, seen = [], set()
    for row, (number, name) in enumerate(zip(label.tolist(), names, strict=True)):
        folder = f"{classes[number].strip('/')}/" if classes else ""
        path = folder + (name or f"{row:08d}")
        if (key := key_of(path)) in seen:
            stem, suffix = os.path.splitext(name)
            key = key_of(path := f"{folder}{stem}-{row:08d}{suffix}")
        seen.add(key)
        paths.append(path)
    return paths


def _imagenet(label: np.ndarray, names: list[str]) -> Named | None:
    """Classes, labels and paths by the wnids in ImageNet's file names; None if the names have none or disagree."""
    parts = [IMAGENET.fullmatch(name) for name in names]
    wnids = [part["wnid"] for part in parts if part]
    if len(wnids) < len(names):
        return None
    pairs = set(zip(label.tolist(), wnids, strict=True))
    if not len(pairs) == len(set(wnids)) == len({number for number, _ in pairs}):
        return None
    return *numbered(wnids), [f"{p['wnid']}/{p['stem']}{p['suffix']}" for p in parts if p]
