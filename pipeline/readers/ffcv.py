"""The ffcv reader: a `.beton` that a build or ffcv wrote; each sample is decoded once.

`shards.formats.beton.Layout` reads header, metadata and pages, because importing ffcv compiles for some ten seconds in
every process; a test compares it with ffcv's own reader. Stock ffcv decodes a sample again for every view and resizes
with OpenCV's INTER_AREA. Here the executor that all readers share decodes and crops, so the pixels are the same as
through any other reader. Raw samples are passed on as they are.
"""

import logging
import os
from collections.abc import Iterator

import numpy as np

from ...shards.formats.read import BetonReader, Opener, OpenFiles
from ...shards.formats.reader import Extents
from ...shards.manifest import Manifest
from ..batch import SampleReader
from .ranged import RangedReader
from .remote import is_remote
from .row_prefetch import RowPrefetcher, free_memory

LOG = logging.getLogger(__name__)

SHARE = 4  # the process cache takes this part of the free memory


class CachedBetonReader(BetonReader):
    """Reads a .beton through a cache, as ffcv's `os_cache` and process cache do. For a file smaller than free memory
    this is the page cache, which is asked to load the whole file; else the process reads the next rows ahead, in file
    order."""

    def __init__(self, manifest: Manifest, opened: Opener = OpenFiles):
        super().__init__(manifest, opened)
        paths, free = self.files.paths, free_memory()
        size = sum(path.stat().st_size for path in paths)
        self.room = 0 if size < free else free // SHARE  # bytes of the process cache
        size_gb, free_gb, room_gb = (f"{number / 1e9:.1f} GB" for number in (size, free, self.room))
        if self.room:
            cache = f"process cache of {room_gb} ({size_gb} do not fit {free_gb} free)"
        else:
            cache = f"page cache ({size_gb} of {free_gb} that are free)"
        if int(os.environ.get("RANK", "0")) == 0:
            LOG.warning(f"note: {', '.join(path.name for path in paths)}: {cache}")
        self._prefetcher: RowPrefetcher | None = None

    def prefetch(self, rows: Iterator[np.ndarray]) -> None:
        """Start to read `rows` ahead."""
        self._stop_prefetching()
        if self.room:
            self._prefetcher = RowPrefetcher(super().read, rows, self._place, self.room)
        else:
            self.files.prefetch()

    def read(self, row: int, field: str = "") -> bytes | np.ndarray:
        data = self._prefetcher.pop(row) if self._prefetcher and not field else None
        return super().read(row, field) if data is None else data

    def extents(self, rows: np.ndarray) -> Extents | None:
        return None if self._prefetcher else super().extents(rows)

    def close(self) -> None:
        self._stop_prefetching()
        super().close()

    def _place(self, rows: np.ndarray) -> np.ndarray:
        """Numbers [N] in the order of `rows` [N] on disk, file after file."""
        at = self.rows[rows]
        return self.layout.where[at] + (self.layout.file[at].astype(np.uint64) << np.uint64(48))

    def _stop_prefetching(self) -> None:
        if self._prefetcher:
            self._prefetcher.close()
            self._prefetcher = None


def open_reader(manifest: Manifest) -> SampleReader:
    """A reader for the .beton of a local or remote set."""
    return RangedReader(manifest, "ffcv") if is_remote(manifest) else CachedBetonReader(manifest)
