"""WebDataset's tars as a source: a folder of them, one tar, or a range of names."""

import json
import os
import re
from array import array
from typing import Any

import numpy as np

from ..errors import UserError
from ..files import PAGE
from .arrange import arranged
from .classes import classes_of
from .readers import Ranges
from .samples import samples
from .source import Source
from .split import archives
from .storage import Storage, beside, opening, storage

BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
MAX_TARS = 1_000_000


def webdataset(where: str | os.PathLike[str], split: str) -> Source:
    """The tars of a split in a folder, one tar, or `name-{000000..000012}.tar`; a path is key and suffix.

    Classes are named by a dataset.json beside the tars, else by the folders of the keys, else numbered."""
    where = os.fspath(where)
    with opening(where):
        files, tars, info = _tars(where, split)
        paths, folders, label, places = [], [], array("q"), array("q")
        for sample in samples(files, tars):
            paths.append(f"{sample.key}.{sample.suffix}")
            folders.append(sample.key.rpartition("/")[0])
            label.append(-1 if sample.label is None else sample.label)
            places.extend((sample.tar, sample.offset, sample.length))
    labels = np.frombuffer(label, np.int64)
    classes = classes_of(labels, where, folders, listed=info.get("classes", ()), listed_in=f"its {PAGE}")
    ranges = np.frombuffer(places, np.int64).reshape(-1, 3)
    return arranged(where, split, Ranges(files, tuple(tars)), classes, labels, paths, ranges)


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
    info = _info(files)
    if info and info.get("split", split) != split:
        raise UserError(f"{files.show(PAGE)} says that this is the {info['split']} split: take --split {info['split']}")
    listed = [str(f.get("file")) for f in info.get("files", []) if str(f.get("file")).endswith(".tar")]
    tars = tars or listed or archives(files, ".tar", split)
    if not tars:
        raise UserError(
            f"{where} has no tars of the {split} split: name them, as in {where}/name-{{000000..000012}}.tar"
        )
    return files, tars, info


def _expanded(name: str) -> list[str]:
    """`a-{08..10}.tar` -> a-08.tar a-09.tar a-10.tar"""
    if not (match := BRACES.search(name)):
        return [name]
    first, last = match.groups()
    if int(last) - int(first) >= MAX_TARS:
        raise UserError(f"{name} names {int(last) - int(first) + 1:,} tars: is the range right?")
    numbers = (str(n).zfill(len(first)) for n in range(int(first), int(last) + 1))
    return [tar for n in numbers for tar in _expanded(name[: match.start()] + n + name[match.end() :])]


def _info(files: Storage) -> dict[str, Any]:
    """The content of dataset.json, {} without one."""
    if not files.exists(PAGE):
        return {}
    try:
        info = json.loads(files.read(PAGE))
        names = [*info.get("classes", []), *(str(line.get("file")) for line in info.get("files", []))]
        if isinstance(info.get("classes"), str) or "\0" in "".join(names):
            raise TypeError("it lists no names of classes or files")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{files.show(PAGE)} is damaged ({error}): remove it to read the tars without") from error
    return info
