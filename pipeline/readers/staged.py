"""Readers of a set that is being staged: a file is read at its source until it is in the stage, and there from then on.

No read waits for a copy.
"""

import os
from functools import partial
from io import FileIO
from pathlib import Path

import numpy as np

from ...shards.formats.read import OpenFiles, TarReader
from ...shards.formats.reader import Extents, SampleReader
from ...shards.manifest import Manifest
from .copies import Copies
from .ffcv import CachedBetonReader
from .stage import Stage, StagedSet, staged_set


def open_staged(loader: str, manifest: Manifest, stage: Stage) -> SampleReader:
    """The reader of a loader, for a set that this node stages from now on. UserError for a loader without one."""
    files = staged_set(manifest, loader, stage)
    opened = partial(StagedFiles, staged=files)
    return TarReader(manifest, opened) if files.form == "webdataset" else CachedBetonReader(manifest, opened)


class StagedFiles(OpenFiles):
    """Open files of a local set. A staged copy takes the place of its source under the same descriptor: reads that have
    begun, and `extents` that are still to be read, get the same bytes, and no more files are open."""

    def __init__(self, paths: list[Path], manifest: Manifest, staged: StagedSet):
        super().__init__([*paths], manifest)
        self.copies = Copies(staged, self._take)

    def extents(self, file: np.ndarray, first: np.ndarray, size: np.ndarray) -> Extents:
        found = super().extents(file, first, size)
        self.copies.count(file[found.size > 0])
        return found

    def read(self, file: int, offset: int, length: int) -> bytes:
        if 0 <= file < len(self.paths):
            self.copies.count(np.array([file]))
        return super().read(file, offset, length)

    def _take(self, number: int, file: FileIO) -> None:
        with file:
            self.sizes[number] = os.fstat(file.fileno()).st_size
            os.dup2(file.fileno(), int(self.descriptors[number]), inheritable=False)
        self.paths[number] = self.copies.staged.places[number]
