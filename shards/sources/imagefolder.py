"""A tree of class folders, as torchvision's ImageFolder reads it."""

import os
import sys

import numpy as np

from ..errors import UserError
from .arrange import arranged
from .images import files_in
from .readers import Files
from .source import Source
from .split import LAYOUT, split_folder
from .storage import opening, storage


def imagefolder(where: str | os.PathLike[str], split: str) -> Source:
    """The images `where/split/<class>/<image>`; labels number the sorted class folders.

    A tree that has neither train/ nor val/ is the train split itself."""
    folder = split_folder(storage(os.fspath(where)), split)
    layout = LAYOUT.format(root=where)
    with opening(folder.show()):
        classes = tuple(sorted(e.name for e in folder.entries() if e.is_dir and not e.name.startswith(".")))
        found = [files_in(folder, name) for name in classes]
    paths = [path for files in found for path in files]
    if not paths:
        raise UserError(f"{folder.show()} holds no images in class folders: a source is laid out as {layout}")
    if len(classes) == 1:
        print(f"warning: {folder.show()} has one class only, {classes[0]}: labels will say nothing", file=sys.stderr)
    label = np.repeat(np.arange(len(classes), dtype=np.int32), list(map(len, found)))
    return arranged(os.fspath(where), split, Files(folder), classes, label, paths)
