"""Tables of the Hugging Face hub: a column of images (bytes and path), a column of labels.

Listing reads labels and paths only. Images cannot be read at random from such a file: `stage` copies those that a
build wants.
"""

import json
import os
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import UserError
from .arrange import archives, arranged, labelled, named_by, numbered
from .source import Source, key_of
from .stage import Rows, stage
from .storage import Storage, beside, opening, storage

PICTURES = ("image", "img", "picture", "jpg", "png")
LABELS = ("label", "labels", "fine_label", "cls", "class", "target")
IMAGENET = re.compile(r"(?P<stem>.+)_(?P<wnid>n\d{8})(?P<suffix>\.\w+)")  # n01440764_10026_n01440764.JPEG


class Columns(NamedTuple):
    """What the columns of a table mean."""

    picture: str  # the bytes
    path: str | None
    label: str | None
    names: tuple[str, ...] | None  # of the classes


@dataclass
class Listed:
    """Rows of all files."""

    label: list[np.ndarray]
    paths: list[str | None]
    places: list[np.ndarray]  # (file, row in it)


def parquet(where: str | os.PathLike[str], split: str) -> Source:
    """The files of a split in a folder (or in data/ there), or one file."""
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
        columns, listed = _listed(files, tables)
    label = np.concatenate(listed.label)
    if not len(label):
        raise UserError(f"{where} holds no images for {split}: its tables have no rows")
    if not labelled(label, where):
        label = np.full(len(label), -1, np.int32)
    classes, label, paths = _named(columns, label, listed.paths, where)
    reader = Rows(files, tuple(tables), columns.picture)
    return arranged(where, split, reader, classes, label, paths, np.concatenate(listed.places), stage)


def _listed(files: Storage, tables: list[str]) -> tuple[Columns, Listed]:
    columns, listed = None, Listed([], [], [])
    for number, name in enumerate(tables):
        try:
            with files.open(name) as file, pq.ParquetFile(file) as table:
                columns = columns or _columns(table.schema_arrow, files.show(name))
                rows = table.metadata.num_rows
                wanted = [c for c in (columns.label, columns.path) if c]
                read = table.read(columns=wanted) if wanted else None
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise UserError(f"{files.show(name)} is damaged or has other columns ({error}): fetch it again") from error
        try:
            label = read[columns.label] if read and columns.label else pa.nulls(rows, pa.int64())
            listed.label.append(label.cast(pa.int64()).fill_null(-1).to_numpy())
            listed.paths += _field(read, columns.path).to_pylist() if read and columns.path else [None] * rows
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise UserError(f"{files.show(name)} has a label or a path that is none ({error}): mend it") from error
        except KeyError as error:
            raise UserError(f"{files.show(name)} has no column {error}, other files of {files.show()} do") from error
        listed.places.append(np.stack([np.full(rows, number), np.arange(rows)], axis=1))
    assert columns is not None
    return columns, listed


def _columns(schema: pa.Schema, name: str) -> Columns:
    """The image column by its type, the label column by its name."""
    structs = [f.name for f in schema if pa.types.is_struct(f.type) and _has_bytes(f.type)]
    plain = [f.name for f in schema if f.name in PICTURES and _is_bytes(f.type)]
    found = [n for n in PICTURES if n in structs + plain][:1] or structs
    if len(found) != 1:
        said = f"has several columns of images ({', '.join(found)})" if found else "has no column of images"
        raise UserError(f"{name} {said}: one struct of bytes and path is wanted, called image, say")
    picture, path = found[0], None
    if picture in structs:
        path = f"{picture}.path" if schema.field(picture).type.get_field_index("path") >= 0 else None
        picture += ".bytes"
    label = next((n for n in LABELS if n in schema.names), None)
    if label and not pa.types.is_integer(schema.field(label).type):
        raise UserError(f"{name}: column {label} is {schema.field(label).type}: labels are whole numbers")
    return Columns(picture, path, label, _class_names(schema, label))


def _has_bytes(kind: pa.StructType) -> bool:
    return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _class_names(schema: pa.Schema, label: str | None) -> tuple[str, ...] | None:
    """Those that the `datasets` library writes into the schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = tuple(map(str, features[label]["names"]))
        "".join(names).encode()  # JSON can hold what is no text
        return names
    except (KeyError, ValueError, TypeError, RecursionError):
        return None


def _field(table: pa.Table, path: str) -> Any:
    column, _, field = path.partition(".")
    return pa.chunked_array([chunk.field(field).cast(pa.string()) for chunk in table[column].chunks], pa.string())


def _named(
    columns: Columns, label: np.ndarray, stored: list[str | None], where: str
) -> tuple[tuple[str, ...], np.ndarray, list[str]]:
    """Classes, labels among them, and paths. ImageNet gets back the wnids and the file names of its archives."""
    names = [(path or "").rpartition("/")[2] for path in stored]
    if label[0] >= 0 and (found := _imagenet(label, names)):
        return found
    folders = [(path or "").rpartition("/")[0] for path in stored]
    classes: tuple[str, ...] = ()
    if label[0] >= 0:
        classes = columns.names or named_by(label, folders) or numbered(label)
        if label.max() >= len(classes):
            raise UserError(
                f"{where}: a label is {label.max()}, its schema names {len(classes)} classes: which is right?"
            )
    paths, seen = [], set()
    for row, (number, name) in enumerate(zip(label.tolist(), names, strict=True)):
        folder = f"{classes[number].strip('/')}/" if classes else ""
        path = folder + (name or f"{row:08d}")
        if (key := key_of(path)) in seen:
            stem, suffix = os.path.splitext(name)
            key = key_of(path := f"{folder}{stem}-{row:08d}{suffix}")
        seen.add(key)
        paths.append(path)
    return classes, label, paths


def _imagenet(label: np.ndarray, names: list[str]) -> tuple[tuple[str, ...], np.ndarray, list[str]] | None:
    parts = [IMAGENET.fullmatch(name) for name in names]
    wnids = [part["wnid"] for part in parts if part]
    pairs = set(zip(label.tolist(), wnids, strict=False))
    classes = tuple(sorted(set(wnids)))
    if len(wnids) < len(names) or not len(pairs) == len(classes) == len({number for number, _ in pairs}):
        return None
    number = {wnid: i for i, wnid in enumerate(classes)}
    paths = [f"{p['wnid']}/{p['stem']}{p['suffix']}" for p in parts if p]
    return classes, np.array([number[wnid] for wnid in wnids], np.int32), paths
