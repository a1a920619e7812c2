"""ImageNet as its authors publish it, not unpacked: a tar of class tars, a tar of validation images, and the kit."""

import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import UserError
from .arrange import arranged
from .classes import numbered
from .devkit import truth
from .images import is_image
from .packed import TARS
from .passed import PassedOver
from .readers import Ranges
from .source import Source
from .storage import Storage, beside, opening, storage
from .tarwalk import Member, members
from .tree import OTHER


def ilsvrc(where: str | os.PathLike[str], split: str) -> Source:
    """The archives in folder `where` (or one of them): classes are the sorted wnids, a path is wnid/file."""
    where = os.fspath(where)
    files = beside(where)[0] if os.path.basename(where) in TARS.values() else storage(where)
    tar, passed = TARS[split], PassedOver()
    with opening(files.show(tar)):
        if not files.exists(tar):
            raise UserError(f"{files.show()} has no {tar}: the {split} split is in it; put it there")
        with files.open(tar) as file:
            found = _train(file, tar, passed) if split == "train" else _val(files, file, tar, passed)
            paths: list[str] = []
            places = array("q")
            for path, offset, size in found:
                paths.append(path)
                places.extend((0, offset, size))
    if not paths:
        raise UserError(f"{files.show(tar)} holds no images where the published archive has them: fetch it again")
    classes, label = numbered([path.partition("/")[0] for path in paths])
    ranges = np.frombuffer(places, np.int64).reshape(-1, 3)
    return arranged(str(files.show()), split, Ranges(files, (tar,)), classes, label, paths, ranges, passed=passed)


def _train(file: BinaryIO, tar: str, passed: PassedOver) -> Iterator[Member]:
    """Images in the class tars, their offsets in the outer tar, their names wnid/file."""
    for inner in members(file, tar):
        wnid, suffix = os.path.splitext(Path(inner.name).name)
        if suffix != ".tar":
            passed.add("members that are no tars of a class", inner.name)
            continue
        for member in members(file, f"{tar}/{inner.name}", inner.offset, inner.offset + inner.size):
            if is_image(member.name):
                yield member._replace(name=f"{wnid}/{Path(member.name).name}")
            else:
                passed.add(OTHER, f"{inner.name}/{member.name}")


def _val(files: Storage, file: BinaryIO, tar: str, passed: PassedOver) -> Iterator[Member]:
    """Images of one tar, their names wnid/file by the kit or Kaggle's table."""
    found = []
    for member in members(file, tar):
        if is_image(member.name):
            found.append(member._replace(name=Path(member.name).name))
        else:
            passed.add(OTHER, member.name)
    wnid = truth(files, sorted(m.name for m in found))
    for member in found:
        stem = os.path.splitext(member.name)[0]
        if stem not in wnid:
            raise UserError(f"the class of {member.name} is not in the tables beside {tar}: are they of another set?")
        yield member._replace(name=f"{wnid[stem]}/{member.name}")
