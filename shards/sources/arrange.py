"""What all kinds of sources end with: names for classes, one order, and keys that name one image each."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from .local import UNSAFE
from .source import Reader, Source, key_of
from .storage import Storage

SUFFIXES = {".jpeg", ".jpg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
WORDS = {"train": ("train", "training"), "val": ("val", "validation", "valid", "test")}  # the first that is there
MOST_CLASSES = 10_000_000  # a larger label is no class number


def arranged(
    where: str,
    split: str,
    reader: Reader,
    classes: tuple[str, ...],
    label: np.ndarray,
    paths: list[str],
    places: np.ndarray | None = None,
    stage: Callable[[Source, Path, np.ndarray], Source] | None = None,
) -> Source:
    """The source, sorted by label, then path; UserError for a path or key that cannot stand.

    Without places the paths are the places."""
    if not paths:
        raise UserError(f"{where} holds no images ({', '.join(sorted(SUFFIXES))}) for {split}: is it the right one?")
    for path in paths:
        if UNSAFE.search(path):
            raise UserError(f"{path!r} in {where} leads out of the source: a path is class/file, without `..`")
        if "\0" in path:
            raise UserError(f"{path!r} in {where} has a zero byte, which no file's name can: rename it")
    order = np.array(sorted(range(len(paths)), key=paths.__getitem__))
    order = order[np.argsort(label[order], kind="stable")]
    paths = [paths[i] for i in order]
    at: Sequence[Any] | np.ndarray = paths if places is None else places[order]
    source = Source(name_of(where), split, reader, classes, label[order].astype(np.int32), paths, at, stage)
    _refuse_twins(source, where)
    return source


def _refuse_twins(source: Source, where: str) -> None:
    """Two images of one key, or a name that is no text, are refused by name."""
    try:
        uids = source.uids(np.arange(len(source)))
    except UnicodeEncodeError as error:
        raise UserError(f"{error.object!r} in {where} is not UTF-8: rename it, keys are text") from error
    order = np.argsort(uids, kind="stable")
    twin = np.flatnonzero(uids[order][1:] == uids[order][:-1])
    if len(twin):
        one, two = (source.paths[order[twin[0] + i]] for i in range(2))
        raise UserError(f"{one} and {two} share the key {key_of(one)}: rename one of them in {where}")


def name_of(where: str) -> str:
    """The last part of a path, without the suffix of a file and the number of an archive."""
    name = re.sub(r"[-_.]?\{[^{}]*\}", "", where.rstrip("/")).rpartition("/")[2]
    if not name.strip("."):  # `.` and `..` have a name too
        name = Path(where).resolve().name
    return re.sub(r"\.(tar|tsv|txt|csv|parquet)$", "", name, flags=re.IGNORECASE)


def labelled(label: np.ndarray, where: str) -> bool:
    """Are there labels? UserError when some have one and some have none."""
    without = int((label < 0).sum())
    if 0 < without < len(label):
        raise UserError(f"{without} of {len(label)} images in {where} have no label: give all of them one, or none")
    if len(label) and label.max() >= MOST_CLASSES:
        raise UserError(f"{where} has a label {label.max()}: a label is the number of a class, from 0")
    return not without


def named_by(label: np.ndarray, names: Iterable[str]) -> tuple[str, ...] | None:
    """Class names in label order, if labels 0, 1, ... and the names of images go together one to one."""
    pairs = set(zip(label.tolist(), names, strict=True))
    found = dict(pairs)
    dense = found.keys() == set(range(len(found)))
    distinct = len(pairs) == len(found) == len(set(found.values()))
    return tuple(found[i] for i in range(len(found))) if dense and distinct and all(found.values()) else None


def numbered(label: np.ndarray) -> tuple[str, ...]:
    """Classes that have numbers for names."""
    return tuple(map(str, range(int(label.max()) + 1)))


def archives(files: Storage, suffix: str, split: str) -> list[str]:
    """Files of a split under a folder: those in train/ (val/, ...), else those that say it in their name, there or in
    data/; files that name no split at all are the train split."""
    found = {folder: _with(files, folder, suffix) for folder in ("", "data")}
    dirs = {e.name for e in files.entries() if e.is_dir}
    for word in WORDS[split]:
        inside = _with(files, word, suffix) if word in dirs else []
        said = re.compile(rf"(?:^|[-_.]){word}(?:[-_.])", re.IGNORECASE)
        named = [p for some in found.values() for p in some if said.search(p.rpartition("/")[2])]
        if inside or named:
            return inside or named
    every = [p for some in found.values() for p in some]
    other = re.compile(rf"(?:^|[-_.])(?:{'|'.join(sum(WORDS.values(), ()))})(?:[-_.])", re.IGNORECASE)
    return every if split == "train" and not any(other.search(p.rpartition("/")[2]) for p in every) else []


def _with(files: Storage, folder: str, suffix: str) -> list[str]:
    """Sorted paths of a folder's files with a suffix; none when there is no such folder."""
    try:
        found = sorted(e.name for e in files.entries(folder) if not e.is_dir and not e.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [f"{folder}/{name}".lstrip("/") for name in found if name.lower().endswith(suffix)]
