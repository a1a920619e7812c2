"""The reader of remote files by ranges: a sample is one request to the source, and no file is kept here.

Coming rows are requested before they are read, many at a time. Each JPEG is compared with its digest in the manifest,
so what another version of the set, or a proxy, sends in its place is found.
"""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial

import numpy as np

from ...shards.errors import UserError
from ...shards.formats.beton import FIELD, HEADER, RAW, SAMPLE, Layout
from ...shards.formats.read import Fields, image_only, open_beton, open_folder, open_tar
from ...shards.formats.reader import SampleReader
from ...shards.info import ENDS
from ...shards.manifest import Manifest
from ...shards.rows import DEPTH
from ...shards.sources.pieces import opened
from ...shards.sources.retry import Stopped
from .fetch import DEFAULT_RETRY, RemoteStore, RetryPolicy
from .remote import Form, forms, is_remote, origin_of, since
from .row_fetch import RowFetcher

LOCAL = {"webdataset": open_tar, "folder": open_folder, "ffcv": open_beton}


class RangedReader(SampleReader):
    """Reads a set that `open_remote` opened, in the form webdataset or ffcv, from its place. UserError for a server
    that sends whole files only."""

    def __init__(self, manifest: Manifest, form: Form, retry: RetryPolicy = DEFAULT_RETRY):
        manifest.require(form)
        if not is_remote(manifest):
            raise UserError(f"{manifest.root} is a local set: choose the loader {form}")
        self.manifest, self.fields = manifest, Fields(manifest)
        url, _, mbps = origin_of(manifest)
        self.store = RemoteStore(url, retry, mbps)
        lines = [line for line in manifest.info.files if line["file"].endswith(ENDS[form])]
        self.names, self.sizes = [line["file"] for line in lines], [line["bytes"] for line in lines]
        self._fetcher: RowFetcher | None = None
        self._closed = threading.Event()
        self.layout = None
        if form == "ffcv":
            parts = [self._tables(number, line["samples"]) for number, line in enumerate(lines)]
            self.layout = _fitting(Layout.joined(parts), manifest, self.store.show(self.names[0]))

    def prefetch(self, rows: Iterator[np.ndarray]) -> None:
        """Start to request `rows`."""
        self._stop_prefetching()
        self._fetcher = RowFetcher(self._read, rows, self._size)

    def read(self, row: int, field: str = "") -> bytes | np.ndarray:
        """JPEG of a row, or pixels [H, W, 3] uint8 of a .beton; of tars also another member, as TarReader reads it."""
        try:
            data = self._fetcher.take(row) if self._fetcher and not field else None
            return self._read(row, self._closed, field) if data is None else data
        except Stopped as error:
            raise UserError(f"the loader of {self.store.show()} was closed while sample {row} was read") from error

    def locate(self, row: int) -> str:
        file, first, _ = self._place(row)
        return f"{self.store.show(self.names[file])} at byte {first}"

    def close(self) -> None:
        """End the requests; reads that wait get a UserError."""
        self._closed.set()
        self._stop_prefetching()

    def _read(self, row: int, stop: threading.Event, field: str = "") -> bytes | np.ndarray:
        self.manifest.check(np.array([row]))
        file, first, length = self._place(row, field)
        raw = self.layout is not None and self.layout.mode[self.manifest.beton[row]] == RAW
        data = self._piece(file, first, length, stop, -1 if raw or field else row)
        return np.frombuffer(data, np.uint8).reshape(*self.manifest.hw[row], 3) if raw else data

    def _piece(self, file: int, first: int, length: int, stop: threading.Event, row: int = -1) -> bytes:
        """Bytes of a file; those of sample `row`, if there is one, have its digest. UserError for what is not in it."""
        if not (0 <= file < len(self.names) and 0 <= first <= first + length <= self.sizes[file]):
            raise UserError(
                f"{length:,} bytes at byte {first:,} of file {file} of {self.store.show()} lie outside of it: "
                "build the set again"
            )
        if not length:
            return b""
        try:
            return self.store.piece(self.names[file], first, length, partial(self._fault, row), stop)
        except UserError as error:
            raise since(self.manifest, error) from error

    def _fault(self, row: int, data: bytes) -> str:
        """What is wrong with the JPEG of a row, "" for nothing."""
        right = row < 0 or hashlib.sha256(data).digest() == self.manifest.sha256[row].tobytes()
        return "" if right else f"sample {row} in it differs from the manifest"

    def _place(self, row: int, field: str = "") -> tuple[int, int, int]:
        """File, first byte and length of a sample; UserError if there are none, or for more than a sample may have."""
        if (layout := self.layout) is None:
            file, (first, length) = int(self.manifest.shard[row]), self.fields.span(row, field)
        else:
            image_only(field, "a .beton")
            at = int(self.manifest.beton[row])
            if not 0 <= at < len(layout.where):
                raise UserError(f"sample {row} has number {at} of the {len(layout.where)} in {self.names[0]}")
            file, first, length = int(layout.file[at]), int(layout.where[at]), int(layout.size[at])
        if length > DEPTH * self.manifest.max_pixels:
            raise UserError(f"sample {row} of {self.store.show()} has {length:,} bytes, as no image has")
        return file, first, length

    def _size(self, row: int) -> int:
        """Bytes of a sample; 0 of one that `read` refuses."""
        try:
            return self._place(row)[2]
        except UserError:
            return 0

    def _tables(self, number: int, samples: int) -> Layout:
        """The tables of a .beton by two requests: all before its first image, if a build wrote it, and all after the
        last."""
        size, name = self.sizes[number], self.store.show(self.names[number])
        before = HEADER.itemsize + 2 * FIELD.itemsize + samples * SAMPLE.itemsize
        file = opened(lambda first, length: self._piece(number, first, length, self._closed), size, before)
        return Layout.read(file, size, number, name)

    def _stop_prefetching(self) -> None:
        if self._fetcher:
            self._fetcher.close()
            self._fetcher = None


def few(manifest: Manifest) -> SampleReader:
    """A reader for few samples of a built set: at a URL it requests these alone."""
    if is_remote(manifest):
        return RangedReader(manifest, forms(manifest)[0])
    return LOCAL[next((form for form in LOCAL if form in manifest.info.formats), "folder")](manifest)


def _fitting(layout: Layout, manifest: Manifest, name: str) -> Layout:
    """The tables of a .beton; UserError if its samples are not those of the manifest."""
    at = manifest.beton
    known = len(layout.where) >= len(manifest) and (not len(at) or 0 <= at.min() <= at.max() < len(layout.where))
    if known:
        jpeg = layout.mode[at] != RAW
        sides = np.stack([layout.height[at], layout.width[at]], 1)
        known = (sides == manifest.hw).all() and (layout.size[at] == manifest.bytes)[jpeg].all()
    if not known:
        raise UserError(f"{name} holds other samples than the manifest says: upload the whole set again")
    return layout
