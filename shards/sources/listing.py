"""A list file as a source: lines `path label` over a folder of images (iNaturalist, Places, BalFeat's lists)."""

import os

import numpy as np

from ..errors import UserError
from ..lists import parse
from .arrange import arranged, labelled, named_by, numbered
from .readers import Files
from .source import Source
from .storage import Storage, beside, opening, storage

CATEGORIES = "categories_places365.txt"  # lines `/a/airfield 0`
PROBES = 5  # images that are looked for to find the folder


def listing(where: str | os.PathLike[str], split: str, root: str | None = None) -> Source:
    """The images that the list names, in folder `root` (default: the list's own). Labels stand as in the file."""
    where = os.fspath(where)
    files, name = beside(where)
    with opening(where):
        try:
            paths, label = parse(files.read(name), where)
        except UnicodeDecodeError as error:
            raise UserError(f"{where} is not UTF-8 ({error.reason} at byte {error.start}): is it a list?") from error
        if not paths:
            raise UserError(f"{where} is empty: a line of a list is `path label`")
        known = _categories(files)
        folder = _folder(files if root is None else storage(root), paths, split, where)
    classes: tuple[str, ...] = ()
    if labelled(label, where):
        classes = known or _by_folder(label, paths)
        if label.max() >= len(classes):
            raise UserError(f"{where} has a label {label.max()}, {CATEGORIES} names {len(classes)} classes")
    return arranged(where, split, Files(folder), classes, label, paths)


def _by_folder(label: np.ndarray, paths: list[str]) -> tuple[str, ...]:
    """Classes are called as their folders when each has one, by its last part or in full; else by their numbers."""
    folders = [path.rpartition("/")[0] for path in paths]
    short = (folder.rpartition("/")[2] for folder in folders)
    return named_by(label, short) or named_by(label, folders) or numbered(label)


def _categories(files: Storage) -> tuple[str, ...]:
    """The class names of Places365, if they lie beside the list."""
    if not files.exists(CATEGORIES):
        return ()
    lines = [line.split() for line in files.read(CATEGORIES).decode(errors="replace").splitlines() if line.strip()]
    names = {words[1]: words[0].strip("/") for words in lines if len(words) == 2}
    if names.keys() != set(map(str, range(len(lines)))):
        raise UserError(f"{files.show(CATEGORIES)} is not lines `/name number` with numbers 0, 1, ...: fetch it again")
    return tuple(names[str(i)] for i in range(len(lines)))


def _folder(root: Storage, paths: list[str], split: str, where: str) -> Storage:
    """The root, or the half of it where the listed images are."""
    probes = [paths[i] for i in np.linspace(0, len(paths) - 1, PROBES).astype(int)]
    for folder in ("", split, "train", "val"):
        if any(root.exists(f"{folder}/{path}".lstrip("/")) for path in probes):
            return root.inside(folder)
    raise UserError(f"{root.show()} has no {probes[0]}, which {where} names: say where its images are with --root")
