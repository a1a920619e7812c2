"""Images without labels, in one folder or in folders that are no classes."""

import os

import numpy as np

from .arrange import arranged
from .passed import PassedOver
from .readers import Files
from .source import Source
from .split import split_folder
from .storage import opening, storage
from .tree import images_below


def flat(where: str | os.PathLike[str], split: str) -> Source:
    """The images in `where/split`, or in `where` itself, and below: label -1, no classes; a path is the file's name."""
    where = os.fspath(where)
    folder, passed = split_folder(storage(where), split), PassedOver()
    with opening(folder.show()):
        paths = list(images_below(folder, "", passed))
    return arranged(where, split, Files(folder), (), np.full(len(paths), -1, np.int32), paths, passed=passed)
