"""A list file as a source: lines `path label` over a folder of images (iNaturalist, Places, BalFeat's lists), or a
table (CSV, JSON lines)."""

import logging
import os
import re

import numpy as np

from ..errors import UserError
from ..lists import parse
from ..names import safe
from .arrange import arranged
from .classes import classes_of, labeled, matched, numbered
from .devkit import HEADER, kaggle
from .labels import numbered_labels
from .local import Local
from .passed import PassedOver
from .places import absolute, folder_of, folders, not_found
from .readers import Files
from .source import Source
from .split import parts_of, train_classes
from .storage import Storage, beside, opening, storage
from .tables import Table, table_of
from .tree import images_below
from .wanted import ANY, Wanted

LOG = logging.getLogger(__name__)

CATEGORIES = "categories_places365.txt"  # lines `/a/airfield 0`
KAGGLE = ("ILSVRC/Data/CLS-LOC/val", "ILSVRC/Data/CLS-LOC/train")  # beside Kaggle's tables
METADATA = ("metadata.csv", "metadata.jsonl")  # of the image folders of Hugging Face's `datasets`
TINY = "val_annotations.txt"  # of Tiny-ImageNet, whose validation images all lie in images/
ABSOLUTE = re.compile(rb'(?:^|[\r\n\t,;:] ?)"?/')
OTHERS = "columns other than image and label"


def listing(where: str | os.PathLike[str], split: str, root: str | None = None, wanted: Wanted = ANY) -> Source:
    """The images that the list names, in folder `root` (default: the list's own), with the list's labels.

    Classes are named by the list, else by Places365's categories beside it, else by folders (last part or whole path),
    else numbered. Kaggle's tables of ImageNet are lists of wnids."""
    where = os.fspath(where)
    files, name = beside(where)
    with opening(where):
        text = files.read(name)
        images = files if root is None else storage(root)
        if text.removeprefix(b"\xef\xbb\xbf").startswith(HEADER):
            return _kaggle(text, where, split, images)
        table = _table(text, where, wanted)
        for path in table.paths:
            if "\0" in path:  # before it is looked for in folders, whose error would not name the list
                safe(path, where)
        categories = _categories(files)
        folder = folder_of(images, table.paths, folders(split))
        if folder is None and ABSOLUTE.search(text) and isinstance(images, Local):
            folder, paths = absolute(table.paths, None if root is None else images)
            table = table._replace(paths=paths)
    if folder is None:
        raise not_found(images, table.paths[0], where)
    return _listed(table, folder, where, split, categories=categories)


def listing_beside(where: str, split: str, wanted: Wanted = ANY) -> Source | None:
    """The images of a split by a table of labels in its folder, with a note: metadata of Hugging Face's image folders
    where there are no class folders, and Tiny-ImageNet's annotations. None without one, or without labels in it."""
    files = storage(where)
    with opening(files.show()):
        parts = parts_of(files)
        if split not in parts.splits and (parts.splits or split != "train"):
            return None
        folder = files.inside(parts.splits.get(split, ""))
        tables = METADATA if split not in parts.labeled else (TINY,) if split == "val" else ()
        name = next(filter(folder.exists, tables), None)
        table = table_of(folder.read(name), folder.show(name), wanted) if name else None
        if name is None or table is None or not any(label is not None for label in table.labels):
            return None
        known = train_classes(files, parts) if split == "val" else ()
        images = folder_of(folder, table.paths, ("", "images"))
    if images is None:
        raise not_found(folder, table.paths[0], folder.show(name))
    LOG.warning(f"note: the labels of {folder.show()} are those of {name}")
    source, lines = _listed(table, images, where, split, known), {*table.paths}
    for path in images_below(images, "", PassedOver()):
        if path not in lines:
            source.passed.add(f"images without a line in {name}", path)
    return source


def _listed(
    table: Table,
    folder: Storage,
    where: str,
    split: str,
    known: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
) -> Source:
    """The images of a table in a folder; the `known` classes are numbered first."""
    label, names = numbered_labels(table.labels, where)
    if names and labeled(label, where):
        classes = matched(names, known, where)
        label = np.array([classes.index(name) for name in names], np.int32)[label]
    else:
        folders = [path.rpartition("/")[0] for path in table.paths]
        short = [path.rpartition("/")[2] for path in folders]
        classes = classes_of(label, where, short, folders, listed=categories, listed_in=CATEGORIES)
    passed = PassedOver()
    for column in table.others:
        passed.add(OTHERS, column)
    return arranged(where, split, Files(folder), classes, label, table.paths, passed=passed)


def _table(text: bytes, where: str, wanted: Wanted) -> Table:
    """The images of a list, by lines `path label` or by a table. UserError for a text that is neither."""
    fault = UserError(f"{where} is no table with a header, as --label-column {wanted.label} asks for: leave it out")
    if not wanted.label:
        try:
            paths, label = parse(text, where)
            return Table(paths, label.tolist(), [])
        except UserError as error:
            fault = error
    if table := table_of(text, where, wanted):
        return table
    raise fault


def _kaggle(text: bytes, where: str, split: str, images: Storage) -> Source:
    """The images of Kaggle's table, all in one folder or in folders of their classes; a path is wnid/file."""
    wnid = kaggle(text, where)
    paths = [f"{wnid}/{stem}.JPEG" for stem, wnid in wnid.items()]
    for places in (paths, [f"{stem}.JPEG" for stem in wnid]):
        if folder := folder_of(images, places, (*folders(split), *KAGGLE)):
            classes, label = numbered(list(wnid.values()))
            return arranged(where, split, Files(folder), classes, label, paths, np.array(places, object))
    raise not_found(images, paths[0], where)


def _categories(files: Storage) -> tuple[str, ...]:
    """The class names of Places365 if their file is there, else ()."""
    if not files.exists(CATEGORIES):
        return ()
    lines = [line.split() for line in files.read(CATEGORIES).decode(errors="replace").splitlines() if line.strip()]
    names = {line[1]: line[0].strip("/") for line in lines if len(line) == 2}
    if names.keys() != set(map(str, range(len(lines)))):
        raise UserError(f"{files.show(CATEGORIES)} is not lines `/name number` with numbers 0, 1, ...: fetch it again")
    return tuple(names[str(i)] for i in range(len(lines)))
