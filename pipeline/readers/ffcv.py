"""The ffcv reader: a `.beton`, ours or one that ffcv wrote, each sample decoded once.

Header, metadata and pages are read by `shards.formats.beton.Layout`, which tests hold to ffcv's own reader: importing
ffcv compiles for some ten seconds in every process. Stock ffcv decodes a sample again for every view and resizes with
OpenCV's INTER_AREA; this reader hands the bytes to the executor that all readers share, so its pixels are theirs. Raw
samples are handed over as they are.
"""

import os
import sys

import numpy as np

from ...shards.formats.read import BetonReader
from ...shards.manifest import Manifest
from .row_prefetch import RowPrefetcher, free_memory

SHARE = 4  # the process cache takes this part of the free memory


class CachedBetonReader(BetonReader):
    """A file that fits into free memory is left to the page cache, which is asked to read it whole; of a larger one,
    what comes next is read ahead, in file order, into this process (ffcv's `os_cache` and process cache)."""

    def __init__(self, manifest: Manifest):
        super().__init__(manifest)
        path, free = self.files.paths[0], free_memory()
        size, self.mode = path.stat().st_size, self.layout.mode
        self.room = 0 if size < free else free // SHARE
        said = f"page cache ({size / 1e9:.1f} GB of {free / 1e9:.1f} GB that are free)"
        if self.room:
            said = (
                f"process cache of {self.room / 1e9:.1f} GB ({size / 1e9:.1f} GB do not fit {free / 1e9:.1f} GB free)"
            )
        if int(os.environ.get("RANK", "0")) == 0:
            print(f"{path.name}: {said}", file=sys.stderr)
        self._prefetcher: RowPrefetcher | None = None

    def prefetch(self, rows: np.ndarray) -> None:
        """Begin to read ahead."""
        self._end()
        if self.room:
            where, size = self.layout.where[self.rows], self.layout.size[self.rows]
            self._prefetcher = RowPrefetcher(super().read, rows, where, size, self.room)
        else:
            self.files.prefetch()

    def read(self, row: int) -> bytes | np.ndarray:
        held = self._prefetcher.pop(row) if self._prefetcher else None
        return super().read(row) if held is None else held

    def close(self) -> None:
        self._end()
        super().close()

    def _end(self) -> None:
        if self._prefetcher:
            self._prefetcher.close()
            self._prefetcher = None


open_reader = CachedBetonReader
