"""Tables of the Hugging Face hub: a column of images (bytes and path), a column of labels.

Only labels and paths are read here. Such a file allows no random reads of images: `stage` copies those of a build.
"""

import os
import re
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import UserError
from ..pages import Watched
from .arrange import arranged
from .classes import classes_of, labeled, numbered
from .columns import Columns, columns_of
from .labels import Label, label_of, labels_by_folder, numbered_labels
from .passed import PassedOver
from .series import absent
from .source import Source, key_of
from .split import archives
from .stage import Unstaged, stage
from .storage import Storage, beside, opening, storage
from .wanted import ANY, NONE, Wanted

IMAGENET = re.compile(r"(?P<stem>.+)_(?P<wnid>n\d{8})(?P<suffix>\.\w+)")  # n01440764_10026_n01440764.JPEG

Named = tuple[tuple[str, ...], np.ndarray, list[str]]  # classes, label [N], paths [N]


def parquet(where: str | os.PathLike[str], split: str, wanted: Wanted = ANY) -> Source:
    """The files of a split in a folder (or in data/ there), or one file.

    Classes are the names that labels are, else named by the schema, else by the folders of the paths, else numbered.
    ImageNet gets back its wnids and the file names of its archives."""
    where, passed = os.fspath(where), PassedOver()
    wanted.only("parquet", "image", "label")
    with opening(where):
        if where.lower().endswith(".parquet"):
            files, name = beside(where)
            tables = [name]
            for table in absent(tables):
                passed.add("tables of the split that were not named", table)
        else:
            files = storage(where)
            tables = archives(files, ".parquet", split, passed)
        if not tables:
            raise UserError(f"{where} has no .parquet file of the {split} split: name one, as in {split}-00000.parquet")
        columns, labels, stored, places = _rows(files, tables, wanted)
    folders = [(path or "").rpartition("/")[0] for path in stored]
    bare = columns.label is None and wanted.label != NONE
    label, words = (labels_by_folder(folders, where) if bare else None) or numbered_labels(labels, where)
    for column in columns.others:
        passed.add("columns other than image and label", column)
    if not len(label):
        raise UserError(f"{where} holds no images for {split}: its tables have no rows")
    names = [(path or "").rpartition("/")[2] for path in stored]
    named = _imagenet(label, names) if labeled(label, where) else None
    if named is None:
        classes = classes_of(label, where, folders, listed=words or columns.names, listed_in="its schema")
        named = classes, label, _paths(classes, label, names)
    return arranged(where, split, Unstaged(files, tuple(tables), columns.image), *named, places, stage, passed)


def _rows(
    files: Storage, tables: list[str], wanted: Wanted
) -> tuple[Columns, list[Label], list[str | None], np.ndarray]:
    """(columns, labels [N], stored paths [N], places [N, 2] as (table, row in it)) of all tables."""
    columns = None
    labels: list[Label] = []
    paths: list[str | None] = []
    places: list[np.ndarray] = []
    for number, name in enumerate(tables):
        try:
            with files.open(name) as file, Watched(file).table() as table:
                columns = columns or columns_of(table.schema_arrow, files.show(name), wanted)
                rows = table.metadata.num_rows
                needed = [c for c in (columns.label, columns.path) if c]
                read = table.read(columns=needed) if needed else None
        except UserError:
            raise
        except (pa.ArrowException, ValueError, MemoryError) as error:
            raise UserError(f"{files.show(name)} is damaged or has other columns ({error}): fetch it again") from error
        try:
            labels += _labels(read[columns.label]) if read and columns.label else [None] * rows
            paths += _strings(read, columns.path) if read and columns.path else [None] * rows
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise UserError(
                f"{files.show(name)} has a label or a path that is invalid ({error}): correct it"
            ) from error
        except KeyError as error:
            raise UserError(f"{files.show(name)} has no column {error}, other files of {files.show()} do") from error
        places.append(np.stack([np.full(rows, number), np.arange(rows)], axis=1))
    assert columns is not None
    return columns, labels, paths, np.concatenate(places)


def _labels(column: pa.ChunkedArray) -> list[Label]:
    """The labels of a column of numbers or of names."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return [label_of(value) for value in column.cast(pa.string()).to_pylist()]
    return column.cast(pa.int64()).to_pylist()


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
