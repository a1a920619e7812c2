"""The reader of remote tars: they are fetched into a cache of limited size, a few of them before their rows are read.

A cache that holds the whole set allows any order; `WindowShuffle` needs only the tars of its window.
"""

import os
import threading
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import numpy as np

from ...shards.care.spans import tar_spans
from ...shards.errors import UserError
from ...shards.formats.read import Fields
from ...shards.manifest import Manifest
from ...shards.sources.retry import Stopped
from ..batch import SampleReader
from .cache import Cache
from .fetch import DEFAULT_RETRY, RemoteStore, RetryPolicy, altered
from .remote import TARS, is_remote, name_in_cache, origin_of, since
from .shard_prefetch import ShardPrefetcher
from .shard_use import peak_bytes, shard_use

AHEAD = 2  # tars that are fetched before their first row is read


class RemoteTarReader(SampleReader):
    """Reads a set that `open_remote` opened. Up to `ahead` tars are fetched before their first row is read; they count
    toward the limit of the cache."""

    def __init__(self, manifest: Manifest, ahead: int = AHEAD, retry: RetryPolicy = DEFAULT_RETRY):
        manifest.require("webdataset")
        if not is_remote(manifest):
            raise UserError(f"{manifest.root} is a local set: choose the loader webdataset")
        url, limit, mbps = origin_of(manifest)
        self.manifest, self.ahead, self.fields = manifest, ahead, Fields(manifest)
        self._whole = manifest.whole()
        self.store = RemoteStore(url, retry, mbps)
        self.cache = Cache(manifest.root.parent / TARS, limit)
        self.lines = [line for line in manifest.info.files if line["file"].endswith(".tar")]
        self.names = [name_in_cache(line) for line in self.lines]
        self.sizes = np.array([line["bytes"] for line in self.lines], np.int64)
        self._prefetcher: ShardPrefetcher | None = None
        self._closed = threading.Event()

    def prefetch(self, rows: Iterator[np.ndarray]) -> None:
        """Start to fetch the tars of `rows`, in the order of their first use. UserError when the cache cannot hold all
        tars that are needed at a time: all rows are taken to find out (100 ns each), in memory a few numbers a tar."""
        self._stop_prefetching()
        order = shard_use((self.manifest.shard[part] for part in rows), len(self.lines))
        if not len(order.shard):
            return
        needed = peak_bytes(order.first, np.arange(len(order.shard)), order.last, self.sizes[order.shard])
        if needed > self.cache.limit:
            raise UserError(
                f"this order needs {needed:,} bytes of tars at a time, the cache holds {self.cache.limit:,}: "
                "raise its limit, or choose an order that mixes fewer tars"
            )
        self._prefetcher = ShardPrefetcher(order, self.sizes[order.shard], self.ahead, self.cache.limit, self._tar)

    def read(self, row: int, field: str = "") -> bytes:
        """JPEG of a row, or another member of the sample as TarReader reads it; UserError when its tar cannot be
        fetched."""
        shard, (first, size) = int(self.manifest.shard[row]), self.fields.span(row, field)
        self.manifest.check(np.array([row]))
        if not 0 <= first <= first + size <= self.sizes[shard]:  # of a field
            raise UserError(
                f".{field} of sample {row} of {self.store.url} lies outside of its tar: build the set again"
            )
        if prefetcher := self._prefetcher:
            prefetcher.reached(shard)
        try:
            with self._tar(shard, self._closed) as file:
                return os.pread(file.fileno(), size, first)
        except Stopped as error:
            raise UserError(f"the loader of {self.store.show()} was closed while sample {row} was read") from error

    def locate(self, row: int) -> str:
        return f"{self.store.show(self.lines[self.manifest.shard[row]]['file'])} at byte {self.manifest.offset[row]}"

    def close(self) -> None:
        """End the prefetching; reads that wait get a UserError."""
        self._closed.set()
        self._stop_prefetching()

    def _tar(self, shard: int, stop: threading.Event) -> FileIO:
        """A tar in the cache, open; it is fetched first if it is not there."""
        line = self.lines[shard]
        name, length, digest = line["file"], line["bytes"], line["digest"]

        def fill(path: Path) -> None:
            own = tar_spans(self._whole, shard)
            spans = [*zip(own.start.tolist(), own.length.tolist(), strict=True)]
            try:
                self.store.fetch(name, path, length, lambda path: altered(path, length, digest, spans), stop)
            except UserError as error:
                raise since(self.manifest, error) from error

        return self.cache.get(self.names[shard], length, fill, stop)

    def _stop_prefetching(self) -> None:
        if self._prefetcher:
            self._prefetcher.close()
            self._prefetcher = None
