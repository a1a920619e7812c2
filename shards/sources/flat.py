"""Images without labels, all in one folder."""

import os

import numpy as np

from .arrange import arranged
from .imagefolder import half, pictures
from .readers import Files
from .source import Source
from .storage import opening, storage


def flat(where: str | os.PathLike[str], split: str) -> Source:
    """The images that lie in `where/split`, or in `where` itself: label -1, no classes; a path is the file's name."""
    folder = half(storage(os.fspath(where)), split)
    with opening(folder.show()):
        paths = pictures(folder)
    return arranged(os.fspath(where), split, Files(folder), (), np.full(len(paths), -1, np.int32), paths)
