"""A list file as a source: lines `path label` over a folder of images (iNaturalist, Places, BalFeat's lists)."""

import os

import numpy as np

from ..errors import UserError
from ..lists import parse
from .arrange import arranged
from .classes import classes_of
from .readers import Files
from .source import Source
from .storage import Storage, beside, opening, storage

CATEGORIES = "categories_places365.txt"  # lines `/a/airfield 0`
PROBES = 5  # images of the list that are looked up in a folder


def listing(where: str | os.PathLike[str], split: str, root: str | None = None) -> Source:
    """The images that the list names, in folder `root` (default: the list's own), with the list's labels.

    Classes are named by Places365's categories beside the list, else by folders (last part or whole path), else
    numbered."""
    where = os.fspath(where)
    files, name = beside(where)
    with opening(where):
        paths, label = parse(files.read(name), where)
        categories = _categories(files)
        folder = _folder(files if root is None else storage(root), paths, split, where)
    folders = [path.rpartition("/")[0] for path in paths]
    short = [path.rpartition("/")[2] for path in folders]
    classes = classes_of(label, where, short, folders, listed=categories, listed_in=CATEGORIES)
    return arranged(where, split, Files(folder), classes, label, paths)


def _categories(files: Storage) -> tuple[str, ...]:
    """The class names of Places365 if their file is there, else ()."""
    if not files.exists(CATEGORIES):
        return ()
    lines = [line.split() for line in files.read(CATEGORIES).decode(errors="replace").splitlines() if line.strip()]
    names = {line[1]: line[0].strip("/") for line in lines if len(line) == 2}
    if names.keys() != set(map(str, range(len(lines)))):
        raise UserError(f"{files.show(CATEGORIES)} is not lines `/name number` with numbers 0, 1, ...: fetch it again")
    return tuple(names[str(i)] for i in range(len(lines)))


def _folder(root: Storage, paths: list[str], split: str, where: str) -> Storage:
    """The root, or the folder of a split in it, whichever has images of the list."""
    probes = [paths[i] for i in np.linspace(0, len(paths) - 1, PROBES).astype(int)]
    for folder in ("", split, "train", "val"):
        if any(root.exists(f"{folder}/{path}".lstrip("/")) for path in probes):
            return root.inside(folder)
    raise UserError(f"{root.show()} has no {probes[0]}, which {where} names: say where its images are with --root")
