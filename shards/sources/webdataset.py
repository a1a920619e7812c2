"""Tars of other people: members `key.jpg`, `key.cls`, `key.json`; `walk` also serves whoever indexes tars."""

import itertools
import json
import operator
import os
import re
from array import array
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..errors import UserError
from ..files import PAGE
from .arrange import MOST_CLASSES, SUFFIXES, archives, arranged, labelled, named_by, numbered
from .readers import Ranges
from .source import Source
from .storage import Storage, beside, opening, storage
from .tarwalk import members

BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
KEY = re.compile(r"(?:\./)?((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)  # up to the first dot of the file's name
MOST_TARS = 1_000_000
LONGEST_NOTE = 1 << 20  # bytes of a .cls or .json


class Sample(NamedTuple):
    """An image in a tar."""

    tar: int
    offset: int
    length: int
    key: str
    suffix: str  # of the image, as it is written
    label: int | None


def webdataset(where: str | os.PathLike[str], split: str) -> Source:
    """The tars of a split in a folder, one tar, or `name-{000000..000012}.tar`; a path is key and suffix."""
    where = os.fspath(where)
    with opening(where):
        files, tars, page = _tars(where, split)
        paths, folders, label, places = [], [], array("q"), array("q")
        for sample in walk(files, tars):
            paths.append(f"{sample.key}.{sample.suffix}")
            folders.append(sample.key.rpartition("/")[0])
            label.append(-1 if sample.label is None else sample.label)
            places.extend((sample.tar, sample.offset, sample.length))
    labels = np.frombuffer(label, np.int64)
    classes: tuple[str, ...] = ()
    if len(labels) and labelled(labels, where):
        classes = tuple(page.get("classes", ())) or named_by(labels, folders) or numbered(labels)
        if labels.max() >= len(classes):
            raise UserError(f"{where} has a label {labels.max()}, its {PAGE} names {len(classes)} classes: mend it")
    at = np.frombuffer(places, np.int64).reshape(-1, 3)
    return arranged(where, split, Ranges(files, tuple(tars)), classes, labels, paths, at)


def walk(files: Storage, tars: list[str]) -> Iterator[Sample]:
    """The images of tars, in order; members of a sample lie side by side. UserError for a tar that is damaged."""
    for number, tar in enumerate(tars):
        name = files.show(tar)
        with files.open(tar) as file:
            for key, group in itertools.groupby(_parts(file, name), operator.itemgetter(0)):
                if (sample := _sample(number, key, list(group), name)) is not None:
                    yield sample


def _parts(file: BinaryIO, tar: str) -> Iterator[tuple[str, str, int, int, bytes]]:
    """(key, suffix, offset, length, content of a note) of each member that has a key."""
    for name, offset, size in members(file, tar):
        if match := KEY.fullmatch(name):
            key, suffix = match.groups()
            note = b""
            if suffix in ("cls", "json") and size <= LONGEST_NOTE:
                file.seek(offset)
                note = file.read(size)
            yield key, suffix, offset, size, note


def _sample(number: int, key: str, parts: list[tuple[str, str, int, int, bytes]], tar: str) -> Sample | None:
    """None when there is no image among the parts."""
    pictures = [part for part in parts if f".{part[1].lower()}" in SUFFIXES]
    if not pictures:
        return None
    if len(pictures) > 1:
        suffixes = " and ".join(part[1] for part in pictures)
        raise UserError(f"{tar} has several images of key {key} ({suffixes}): one a key is wanted")
    notes = {suffix: note for _, suffix, _, _, note in parts}
    _, suffix, offset, length, _ = pictures[0]
    try:
        label = int(notes["cls"]) if "cls" in notes else _noted(notes.get("json"))
        if label is not None and not -1 <= label < MOST_CLASSES:
            raise ValueError(f"{label} is no class")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{tar}: the label of {key} cannot be read ({error}): .cls is a whole number") from error
    return Sample(number, offset, length, key, suffix, label)


def _noted(note: bytes | None) -> int | None:
    """The label in a .json."""
    if note is None:
        return None
    page = json.loads(note)
    found = [page[name] for name in ("label", "cls") if name in page] if isinstance(page, dict) else []
    return found[0] if found and type(found[0]) is int else None


def _tars(where: str, split: str) -> tuple[Storage, list[str], dict[str, Any]]:
    """The folder, its tars of the split, and the content of its dataset.json."""
    if where.lower().endswith(".tar"):
        files, name = beside(where)
        tars = _expanded(name)
        if absent := [tar for tar in tars if not files.exists(tar)]:
            raise UserError(
                f"{files.show(absent[0])} is not there: name a tar, or several as name-{{000000..000012}}.tar"
            )
    else:
        files, tars = storage(where), []
    page = _page(files)
    if page and page.get("split", split) != split:
        raise UserError(f"{files.show(PAGE)} says that this is the {page['split']} split: take --split {page['split']}")
    listed = [str(f.get("file")) for f in page.get("files", []) if str(f.get("file")).endswith(".tar")]
    tars = tars or listed or archives(files, ".tar", split)
    if not tars:
        raise UserError(
            f"{where} has no tars of the {split} split: name them, as in {where}/name-{{000000..000012}}.tar"
        )
    return files, tars, page


def _expanded(name: str) -> list[str]:
    """`a-{08..10}.tar` -> a-08.tar a-09.tar a-10.tar"""
    if not (match := BRACES.search(name)):
        return [name]
    first, last = match.groups()
    if int(last) - int(first) >= MOST_TARS:
        raise UserError(f"{name} names {int(last) - int(first) + 1:,} tars: is the range right?")
    numbers = (str(n).zfill(len(first)) for n in range(int(first), int(last) + 1))
    return [more for n in numbers for more in _expanded(name[: match.start()] + n + name[match.end() :])]


def _page(files: Storage) -> dict[str, Any]:
    if not files.exists(PAGE):
        return {}
    try:
        page = json.loads(files.read(PAGE))
        names = [*page.get("classes", []), *(str(line.get("file")) for line in page.get("files", []))]
        if isinstance(page.get("classes"), str) or "\0" in "".join(names):
            raise TypeError("it lists no names of classes or files")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{files.show(PAGE)} is damaged ({error}): remove it to read the tars without") from error
    return page
