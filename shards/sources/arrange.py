"""The last step of every kind of source: one order, safe paths, and a unique key for each image."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..names import safe
from ..redaction import bare
from .images import SUFFIXES
from .passed import PassedOver
from .readers import Ranges
from .source import Reader, Source, Stage, key_of


def arranged(
    where: str,
    split: str,
    reader: Reader,
    classes: tuple[str, ...],
    label: np.ndarray,
    paths: list[str],
    places: np.ndarray | None = None,
    stage: Stage | None = None,
    passed: PassedOver | None = None,
) -> Source:
    """The source, sorted by label, then path; UserError for an unsafe path or a key that is not unique.

    label [N], negative = unlabeled; places [N, ...], by default the paths."""
    if not paths:
        raise UserError(f"{where} holds no images ({', '.join(sorted(SUFFIXES))}) for {split}: is it the right one?")
    for path in paths:
        safe(path, where)
    label = np.maximum(label, -1).astype(np.int32)
    order = np.array(sorted(range(len(paths)), key=paths.__getitem__))
    order = order[np.argsort(label[order], kind="stable")]
    paths = [paths[i] for i in order]
    sorted_places: Sequence[Any] | np.ndarray = paths if places is None else places[order]
    source = Source(
        name_of(where), split, reader, classes, label[order], paths, sorted_places, stage, passed or PassedOver()
    )
    _check_keys(source, where)
    return source


def _check_keys(source: Source, where: str) -> None:
    """UserError for two images with one key, or a name that is not text."""
    try:
        uids = source.uids(np.arange(len(source)))
    except UnicodeEncodeError as error:
        raise UserError(f"{error.object!r} in {where} is not UTF-8: rename it, keys are text") from error
    order = np.argsort(uids, kind="stable")
    twin = np.flatnonzero(uids[order][1:] == uids[order][:-1])
    if len(twin):
        rows = order[twin[0] : twin[0] + 2].tolist()
        first, second = (_shown(source, row) for row in rows)
        key = key_of(source.paths[rows[0]])
        raise UserError(f"{first} and {second} share the key {key}: rename one of them in {where}, or remove a copy")


def _shown(source: Source, row: int) -> str:
    """An image's path, with its archive if there are several."""
    reader, path = source.reader, source.paths[row]
    if isinstance(reader, Ranges) and len(reader.files) > 1:
        return f"{path} in {reader.files[int(source.places[row][0])]}"
    return path


def name_of(where: str) -> str:
    """A source's name: the last part of its path, without `{000..012}` and the suffix of a file."""
    name = re.sub(r"[-_.]?\{[^{}]*\}", "", bare(where).rstrip("/")).rpartition("/")[2]
    if not name.strip("."):  # `.` and `..` are folders with names of their own
        name = Path(where).resolve().name
    return re.sub(r"\.(tar|tsv|txt|csv|jsonl|parquet)$", "", name, flags=re.IGNORECASE)
