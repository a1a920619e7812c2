"""WebDataset's tars as a source: a folder of them, one tar, or a range of names."""

import itertools
import os
import re
from array import array
from collections.abc import Iterable
from dataclasses import replace
from sys import intern
from typing import Any

import numpy as np

from ..errors import UserError
from ..files import PAGE
from ..seals import opened
from ..unpack import parsed_json
from .arrange import arranged
from .classes import classes_of
from .labels import labels_by_folder, numbered_labels
from .packed import COMPRESSED
from .passed import PassedOver
from .readers import Ranges
from .samples import LABEL_ALONE, Sample, samples
from .series import absent
from .source import Source
from .split import archives
from .storage import Storage, beside, opening, storage
from .wanted import ANY, NONE, Wanted

BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
MAX_TARS = 1_000_000


def webdataset(where: str | os.PathLike[str], split: str, wanted: Wanted = ANY) -> Source:
    """The tars of a split in a folder, one tar, or `name-{000000..000012}.tar`; a path is a member's name.

    Classes are the names that labels are, else named by a dataset.json beside the tars, else by the folders of the
    keys, else numbered. Where no image has a label, the folders of the keys are the classes. A place is (tar, offset,
    length), and (offset, length) of each of `wanted.fields`."""
    where, passed = os.fspath(where), PassedOver()
    with opening(where):
        files, tars, info = tars_of(where, split, passed)
        return of_samples(
            samples(files, tars, wanted, passed), where, split, wanted, Ranges(files, tuple(tars)), info, passed
        )


def of_samples(
    found: Iterable[Sample],
    where: str,
    split: str,
    wanted: Wanted,
    reader: Ranges,
    info: dict[str, Any],
    passed: PassedOver,
) -> Source:
    """The source of the samples of tars, which `reader` reads. `info`: the content of a dataset.json beside them."""
    paths, folders, labels, places = [], [], [], array("q")
    for sample in found:
        paths.append(sample.name)
        folders.append(intern(sample.key.rpartition("/")[0]))  # one string for all images of a folder
        labels.append(sample.label)
        places.extend((sample.tar, sample.offset, sample.length, *itertools.chain(*sample.fields)))
    ranges = np.frombuffer(places, np.int64).reshape(len(paths), 3 + 2 * len(wanted.fields))
    bare = wanted.label != NONE and set(labels) == {None}
    if bare and LABEL_ALONE in passed.counts:
        raise UserError(
            f"{where} has labels ({', '.join(passed.names[LABEL_ALONE])}) and images ({paths[0]}), but no label has "
            "the key of an image in its tar: give both the same names, or leave labels out with --label-column none"
        )
    by_folder = labels_by_folder(folders, where) if bare else None
    label, names = by_folder or numbered_labels(labels, where)
    _check_wanted(where, wanted, ranges, label)
    classes = classes_of(label, where, folders, listed=names or info.get("classes", ()), listed_in=f"its {PAGE}")
    source = arranged(where, split, reader, classes, label, paths, ranges, passed=passed)
    return replace(source, fields=wanted.fields)


def _check_wanted(where: str, wanted: Wanted, ranges: np.ndarray, label: np.ndarray) -> None:
    """UserError for names of `wanted` that no sample has."""
    wanted.only("webdataset", "member", "label", "fields")
    if wanted.member and not len(ranges):
        raise UserError(f"{where} has no member that ends in .{wanted.member}: name another one with --member")
    absent = [field for n, field in enumerate(wanted.fields) if not (ranges[:, 3 + 2 * n] >= 0).any()]
    if absent:
        raise UserError(f"{where} has no member .{absent[0]} of a sample: leave it out of --fields")
    if wanted.label not in ("", NONE) and not (label >= 0).any():
        raise UserError(f"{where} has no label in {wanted.label}: name another member or field with --label-column")


def tars_of(where: str, split: str, passed: PassedOver) -> tuple[Storage, list[str], dict[str, Any]]:
    """The folder, its tars of the split, and the content of its dataset.json."""
    if where.lower().endswith((".tar", *COMPRESSED)):
        files, name = beside(where)
        tars = _expanded(name)
        if lost := [tar for tar in tars if not files.exists(tar)]:
            raise UserError(
                f"{files.show(lost[0])} is not there: name a tar, or several as name-{{000000..000012}}.tar"
            )
        for tar in absent(tars):
            passed.add("tars of the split that were not named", tar)
    else:
        files, tars = storage(where), []
    info = _info(files)
    if info and info.get("split", split) != split:
        raise UserError(f"{files.show(PAGE)} says that this is the {info['split']} split: take --split {info['split']}")
    listed = [str(f.get("file")) for f in info.get("files", []) if str(f.get("file")).endswith(".tar")]
    tars = tars or listed or archives(files, ".tar", split, passed)
    if not tars:
        packed = sorted(e.name for e in files.entries() if e.name.lower().endswith(COMPRESSED))
        compressed = f"its {len(packed)} tars are compressed ({packed[0]}), unpack them to .tar" if packed else ""
        named = f"name them, as in {where}/name-{{000000..000012}}.tar"
        raise UserError(f"{where} has no tars of the {split} split: {compressed or named}")
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
        info = opened(parsed_json(files.read(PAGE)))
        names = [*info.get("classes", []), *(str(line.get("file")) for line in info.get("files", []))]
        if isinstance(info.get("classes"), str) or "\0" in "".join(names):
            raise TypeError("it lists no names of classes or files")
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{files.show(PAGE)} is damaged ({error}): remove it to read the tars without") from error
    return info
