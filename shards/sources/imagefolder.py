"""A tree of class folders, as torchvision's ImageFolder reads it."""

import os
import sys

import numpy as np

from ..errors import UserError
from .arrange import SUFFIXES, arranged
from .readers import Files
from .source import Source
from .storage import Storage, opening, storage

LAYOUT = "{root}/train/<class>/<image>.JPEG and {root}/val/<class>/<image>.JPEG"


def imagefolder(where: str | os.PathLike[str], split: str) -> Source:
    """The tree `where/split/<class>/<picture>`; label = place of the class among the sorted folder names. A tree that
    has neither train/ nor val/ is the train split itself."""
    files = storage(os.fspath(where))
    folder = half(files, split)
    layout = LAYOUT.format(root=where)
    with opening(folder.show()):
        classes = tuple(sorted(e.name for e in folder.entries() if e.is_dir and not e.name.startswith(".")))
        found = [[f"{name}/{file}" for file in pictures(folder, name)] for name in classes]
    paths = [path for some in found for path in some]
    if not paths:
        raise UserError(f"{folder.show()} holds no images in class folders: a source is laid out as {layout}")
    if len(classes) == 1:
        print(f"warning: {folder.show()} has one class only, {classes[0]}: labels will say nothing", file=sys.stderr)
    label = np.repeat(np.arange(len(classes), dtype=np.int32), list(map(len, found)))
    return arranged(os.fspath(where), split, Files(folder), classes, label, paths)


def half(files: Storage, split: str) -> Storage:
    """The folder of a split: its own, or all when there are no halves; UserError when there is none."""
    with opening(files.show()):
        try:
            dirs = {e.name for e in files.entries() if e.is_dir}
        except (FileNotFoundError, NotADirectoryError):
            dirs = None
    if dirs is not None and split in dirs:
        return files.inside(split)
    if dirs is not None and split == "train" and "val" not in dirs:
        return files
    raise UserError(
        f"{files.show(split)} does not exist: a source is laid out as {LAYOUT.format(root=files.show())}; "
        "name it with --source or $IMAGENET"
    )


def pictures(files: Storage, folder: str = "") -> list[str]:
    """Sorted names of a folder's images."""
    names = (e.name for e in files.entries(folder) if not e.is_dir and not e.name.startswith("."))
    return sorted(name for name in names if os.path.splitext(name)[1].lower() in SUFFIXES)
