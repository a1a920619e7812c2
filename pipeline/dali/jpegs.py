"""The JPEGs of an order's batches, read ahead and proved: for a decoder that shows what is damaged as if it were not.

A JPEG is compared with its digest (33 us for 37 kB on the reading thread), since DALI fills what it cannot decode with
gray, and with the size that boxes are drawn for.
"""

import hashlib
import sys
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import simplejpeg

from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ..batch import SampleReader
from ..executor import damaged
from ..loader import AHEAD, TRIES
from ..plan.params import replacements

DIGEST = 32  # bytes


class Jpegs(NamedTuple):
    """A batch of this rank, which may be empty."""

    rows: np.ndarray  # [N] int64
    data: list[bytes]


class NoJpeg(UserError):
    """A sample stored as pixels; no replacement takes its place, for there may be as many as there are samples."""

    def __init__(self, manifest: Manifest, row: int):
        super().__init__(
            f"sample {row} ({manifest.keys[row]}) is stored as raw pixels, DALI decodes JPEGs: "
            "read another format of the set, or build it without --raw-fraction"
        )


class JpegReader:
    """Reads by `threads`; `skip` as `ViewLoader` does: the same replacements, counted in `skipped`."""

    def __init__(self, manifest: Manifest, reader: SampleReader, threads: int, seed: int, skip: bool):
        self.manifest, self.reader, self.threads = manifest, reader, threads
        self.seed, self.skip, self.skipped = seed, skip, dict[int, str]()
        self._digests = b"".join(manifest.strings("sha256"))
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="viewstream-read")

    def ahead(self, coming: list[np.ndarray], epoch: int) -> Generator[Jpegs, None, None]:
        """Each batch's JPEGs, read AHEAD batches before they are wanted."""
        reading: deque[tuple[np.ndarray, list[Future[list[bytes]]]]] = deque()
        try:
            for at in range(len(coming) + AHEAD):
                if at < len(coming):
                    parts = np.array_split(coming[at], self.threads)
                    reading.append((coming[at], [self._pool.submit(self._some, part) for part in parts]))
                if at >= AHEAD and reading:
                    jpegs = self._gathered(*reading[0], epoch)  # left there until every task is done, or one has failed
                    reading.popleft()
                    yield jpegs
        finally:  # an early break or an error: nobody reads any more when the next epoch begins
            for task in [task for _, tasks in reading for task in tasks if not task.cancel()]:
                task.exception()

    def sound(self, rows: np.ndarray, epoch: int) -> Jpegs:
        """Samples that decode: slow and sure, a replacement for each that does not."""
        data, todo = [b""] * len(rows), list(range(len(rows)))
        for tries in range(TRIES + 1):
            tried = self._pool.map(self._decodes, rows[todo].tolist())
            failed: dict[int, UserError] = {}
            for place, found in zip(todo, tried, strict=True):
                if isinstance(found, UserError):
                    failed[place] = found
                else:
                    data[place] = found
            if not failed:
                break
            if tries == TRIES:
                raise next(iter(failed.values()))
            self._count({int(rows[place]): str(error) for place, error in failed.items()})
            rows, todo = replacements(self.manifest, rows, [*failed], self.seed, epoch, tries), [*failed]
        return Jpegs(rows, data)

    def close(self) -> None:
        """End the threads; what has not begun is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _gathered(self, rows: np.ndarray, tasks: list[Future[list[bytes]]], epoch: int) -> Jpegs:
        try:
            return Jpegs(rows, [jpeg for task in tasks for jpeg in task.result()])
        except NoJpeg:
            raise
        except UserError:
            if not self.skip:
                raise
            return self.sound(rows, epoch)

    def _some(self, rows: np.ndarray) -> list[bytes]:
        return [self._one(row) for row in rows.tolist()]

    def _one(self, row: int) -> bytes:
        data = self.reader.read(row)
        if isinstance(data, np.ndarray):
            raise NoJpeg(self.manifest, row)
        if hashlib.sha256(data).digest() != self._digests[DIGEST * row : DIGEST * (row + 1)]:
            raise damaged(self.manifest, self.reader, row, "its bytes are not those that were stored")
        try:
            found = list(simplejpeg.decode_jpeg_header(data)[:2])
        except (ValueError, RuntimeError) as error:
            raise damaged(self.manifest, self.reader, row, str(error)) from error
        if found != (size := self.manifest.hw[row].tolist()):
            wrong = f"it is {found[0]} x {found[1]} px, the manifest says {size}"
            raise damaged(self.manifest, self.reader, row, wrong)
        return data

    def _decodes(self, row: int) -> bytes | UserError:
        try:
            data = self._one(row)
            simplejpeg.decode_jpeg(data)
        except UserError as error:
            if isinstance(error, NoJpeg):
                raise
            return error
        except (ValueError, RuntimeError) as error:
            return damaged(self.manifest, self.reader, row, str(error))
        return data

    def _count(self, failed: dict[int, str]) -> None:
        for row, why in failed.items():
            if row not in self.skipped:
                print(f"skipped: {why}", file=sys.stderr)
            self.skipped[row] = why
