"""Images without labels, all in one folder."""

import os

import numpy as np

from .arrange import arranged
from .images import files_in
from .readers import Files
from .source import Source
from .split import split_folder
from .storage import opening, storage


def flat(where: str | os.PathLike[str], split: str) -> Source:
    """The images in `where/split`, or in `where` itself: label -1, no classes; a path is the file's name."""
    folder = split_folder(storage(os.fspath(where)), split)
    with opening(folder.show()):
        paths = files_in(folder)
    return arranged(os.fspath(where), split, Files(folder), (), np.full(len(paths), -1, np.int32), paths)
