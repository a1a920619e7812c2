"""A list file as a source: lines `path label` over a folder of images (iNaturalist, Places, BalFeat's lists, CSV)."""

import os
import re
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..lists import parse
from ..names import safe
from .arrange import arranged
from .classes import classes_of, numbered
from .devkit import HEADER, kaggle
from .local import Local
from .readers import Files
from .source import Source
from .split import NAMES
from .storage import Storage, beside, opening, storage

CATEGORIES = "categories_places365.txt"  # lines `/a/airfield 0`
PROBES = 5  # images of the list that are looked up in a folder
KAGGLE = ("ILSVRC/Data/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/train")  # beside Kaggle's tables
ABSOLUTE = re.compile(rb'(?:^|[\r\n])"?/')


def listing(where: str | os.PathLike[str], split: str, root: str | None = None) -> Source:
    """The images that the list names, in folder `root` (default: the list's own), with the list's labels.

    Classes are named by Places365's categories beside the list, else by folders (last part or whole path), else
    numbered. Kaggle's tables of ImageNet are lists of wnids."""
    where = os.fspath(where)
    files, name = beside(where)
    with opening(where):
        text = files.read(name)
        images = files if root is None else storage(root)
        if text.removeprefix(b"\xef\xbb\xbf").startswith(HEADER):
            return _kaggle(text, where, split, images)
        paths, label = parse(text, where)
        for path in paths:
            if "\0" in path:  # before it is looked for in folders, whose error would not name the list
                safe(path, where)
        categories = _categories(files)
        folder = _folder(images, paths, _parts(split))
        if folder is None and ABSOLUTE.search(text) and isinstance(images, Local):
            folder, paths = _absolute(paths, None if root is None else images)
    if folder is None:
        raise _not_found(images, paths[0], where)
    folders = [path.rpartition("/")[0] for path in paths]
    short = [path.rpartition("/")[2] for path in folders]
    classes = classes_of(label, where, short, folders, listed=categories, listed_in=CATEGORIES)
    return arranged(where, split, Files(folder), classes, label, paths)


def _kaggle(text: bytes, where: str, split: str, images: Storage) -> Source:
    """The images of Kaggle's table, all in one folder or in folders of their classes; a path is wnid/file."""
    wnid = kaggle(text, where)
    paths = [f"{wnid}/{stem}.JPEG" for stem, wnid in wnid.items()]
    for places in (paths, [f"{stem}.JPEG" for stem in wnid]):
        if folder := _folder(images, places, (*_parts(split), *KAGGLE)):
            classes, label = numbered(list(wnid.values()))
            return arranged(where, split, Files(folder), classes, label, paths, np.array(places, object))
    raise _not_found(images, paths[0], where)


def _categories(files: Storage) -> tuple[str, ...]:
    """The class names of Places365 if their file is there, else ()."""
    if not files.exists(CATEGORIES):
        return ()
    lines = [line.split() for line in files.read(CATEGORIES).decode(errors="replace").splitlines() if line.strip()]
    names = {line[1]: line[0].strip("/") for line in lines if len(line) == 2}
    if names.keys() != set(map(str, range(len(lines)))):
        raise UserError(f"{files.show(CATEGORIES)} is not lines `/name number` with numbers 0, 1, ...: fetch it again")
    return tuple(names[str(i)] for i in range(len(lines)))


def _parts(split: str) -> tuple[str, ...]:
    """Where the images of a list may lie in its root."""
    return ("", *NAMES[split], "train", "val")


def _folder(root: Storage, paths: list[str], folders: tuple[str, ...]) -> Storage | None:
    """The first of some folders in `root` that has images of the list."""
    probes = [paths[i] for i in np.linspace(0, len(paths) - 1, PROBES).astype(int)]
    for folder in folders:
        if any(root.exists(f"{folder}/{path}".lstrip("/")) for path in probes):
            return root.inside(folder)
    return None


def _absolute(paths: list[str], root: Local | None) -> tuple[Storage | None, list[str]]:
    """The folder that all absolute paths lie in, `root` if given, and the paths in it as class/file; None when no such
    files exist, or some are outside of `root`."""
    if _folder(top := Local(Path("/")), paths, ("",)) is None:
        return None, paths
    common = os.path.commonpath([path.rpartition("/")[0].rpartition("/")[0] for path in paths])
    inner = str(root.root.absolute()).lstrip("/") if root else common
    if any(not path.startswith(f"{inner}/") for path in paths):
        return None, paths
    return top.inside(inner), [path.removeprefix(f"{inner}/") for path in paths]


def _not_found(root: Storage, path: str, where: str) -> UserError:
    return UserError(f"{root.show()} has no {path}, which {where} names: say where its images are with --root")
