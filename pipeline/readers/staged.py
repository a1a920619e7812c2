"""Readers of a set that is being staged: a file is read at its source until it is in the stage, and there from then on.

No read waits for a copy.
"""

import os
import threading
from collections.abc import Iterator
from functools import partial
from io import FileIO
from pathlib import Path

import numpy as np

from ...shards.formats.beton import RAW
from ...shards.formats.read import OpenFiles, TarReader
from ...shards.formats.reader import Extents, SampleReader
from ...shards.manifest import Manifest
from .copies import Copies
from .ffcv import CachedBetonReader
from .ranged import RangedReader
from .remote import is_remote
from .stage import Stage, StagedSet, staged_set


def open_staged(loader: str, manifest: Manifest, stage: Stage) -> SampleReader:
    """The reader of a loader, for a set that this node stages from now on. UserError for a loader without one."""
    files = staged_set(manifest, loader, stage)
    if is_remote(manifest):
        return StagedRanges(manifest, files)
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
        self.paths[number] = Path(str(file.name))


class StagedRanges(RangedReader):
    """A set at a URL, read by ranges, and the files of it that are staged as files. What was requested before its file
    came is taken from the answer."""

    def __init__(self, manifest: Manifest, staged: StagedSet):
        self._files: dict[int, FileIO] = {}
        self._descriptors = np.full(len(staged.lines), -1, np.int64)
        self.copies = Copies(staged, self._take)
        super().__init__(manifest, staged.form)

    def prefetch(self, rows: Iterator[np.ndarray]) -> None:
        """Start to request those of `rows` whose files are not staged when their turn comes."""
        super().prefetch(part[~self.copies.here[self._lie(part).file]] for part in rows)

    def extents(self, rows: np.ndarray) -> Extents:
        at = self._lie(rows)
        staged = self.copies.here[at.file]
        if self._fetcher and staged.any():
            staged &= ~self._fetcher.holds(rows)
        self.copies.count(at.file[staged])
        return Extents(self._descriptors[at.file], at.first, np.where(staged, at.size, 0))

    def close(self) -> None:
        super().close()
        for file in self._files.values():
            file.close()

    def _lie(self, rows: np.ndarray) -> Extents:
        """File, first byte and size of samples; 0 bytes of those that `read` decodes or refuses."""
        m = self.manifest
        if (layout := self.layout) is None:
            file, first, size = m.shard[rows], m.offset[rows], m.bytes[rows]
        else:
            at = m.beton[rows]
            file, first = layout.file[at], layout.where[at].astype(np.int64)
            size = np.where(layout.mode[at] == RAW, 0, layout.size[at]).astype(np.int64)
        return Extents(file.astype(np.int64), first.astype(np.int64), size)

    def _read(self, row: int, stop: threading.Event, field: str = "") -> bytes | np.ndarray:
        self.copies.count(np.array([self._place(row, field)[0]]))
        return super()._read(row, stop, field)

    def _piece(self, file: int, first: int, length: int, stop: threading.Event, row: int = -1) -> bytes:
        if file not in self._files or not 0 <= first <= first + length <= self.sizes[file]:
            return super()._piece(file, first, length, stop, row)
        return os.pread(self._files[file].fileno(), length, first)

    def _take(self, number: int, file: FileIO) -> None:
        self._files[number], self._descriptors[number] = file, file.fileno()
