"""The executor: threads that read a sample through any reader, decode it once and crop all its views.

Reading, decoding and cropping release the GIL, so threads scale and nothing is pickled. A task is a chunk of samples;
each thread keeps one decoding buffer, as large as the largest image of the set.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import simplejpeg
import torch
from torch import Tensor

from ..shards.errors import UserError
from ..shards.manifest import Manifest
from .batch import SampleReader
from .cut.planes import can_crop, crops_of_planes
from .cut.resize import resized_crops
from .damage import check_size, damaged
from .host_batch import CroppedViews
from .plan.params import BatchParams
from .timing import THREADED, Times
from .turbojpeg import PlaneDecoder, Planes
from .workers import Workers

MAPPED = (32 << 20) - (64 << 10)  # bytes of the largest block that counts for glibc's limit
CHUNKS = 4  # tasks per thread and batch: small enough to even out slow images, large enough to cost nothing


def keep_freed_memory() -> None:
    """Let glibc keep up to 64 MiB of freed memory per thread. It begins with 128 KiB, and then samples ask the system
    for their pages again and again, 3 % of a loader's time. The limit is twice the largest mapped block that was ever
    freed, of at most 32 MiB (mallopt(3), M_MMAP_THRESHOLD)."""
    np.empty(MAPPED, np.uint8)  # freed at once


class Chunk(NamedTuple):
    """The report of a task."""

    spent: tuple[float, float, float]  # seconds to read, decode and crop
    failed: dict[int, UserError]  # by position in the batch


Task = Future[Chunk]
Make = Callable[[int, int, Any], Any]  # position, row and what was read -> an image [H, W, 3], or what `use` wants
Use = Callable[[int, Any], None]  # takes position and image, valid until the thread decodes again
Work = Callable[[range], Chunk]  # takes the positions of a task


class Executor:
    """Starts batches and waits for their tasks; batches may overlap. `threads` 0: measured (workers.py). `planes`:
    crop JPEGs with halved colors from the planes that they store; UserError without libturbojpeg."""

    def __init__(
        self, reader: SampleReader, manifest: Manifest, sizes: Sequence[int], threads: int = 0, *, planes: bool = False
    ):
        self.reader, self.manifest, self.workers = reader, manifest, Workers(threads)
        self.sizes = np.array(sizes, np.int64)  # of the views, px
        self.times = Times()
        keep_freed_memory()
        self._largest = 3 * manifest.largest + 3  # planes of an image that is one pixel high take 3 bytes more
        self._planes = PlaneDecoder() if planes else None
        self._pool = ThreadPoolExecutor(self.workers.max_threads, thread_name_prefix="viewstream")
        self._local = threading.local()

    def bytes_for(self, samples: int) -> int:
        """Bytes that `crop` fills: view after view, each [samples, S, S, 3]."""
        return int(3 * (self.sizes**2).sum()) * samples

    def places(self, samples: int) -> np.ndarray:
        """[samples, V]: where each view of each sample begins in what `crop` fills."""
        each = 3 * self.sizes**2  # bytes per sample
        return np.cumsum(each * samples) - each * samples + np.arange(samples)[:, None] * each

    def crop(self, rows: np.ndarray, boxes: np.ndarray, out: np.ndarray) -> list[Task]:
        """Start to crop samples `rows` [N] by `boxes` [N, V, CROP_FIELDS] into the flat uint8 `out`."""
        places, planar = self.places(len(rows)), can_crop(boxes) if self._planes else np.zeros(len(rows), bool)
        height, width = self.manifest.height[rows].tolist(), self.manifest.width[rows].tolist()

        def make(i: int, row: int, data: bytes | np.ndarray) -> Planes | np.ndarray:
            scratch = self._scratch()
            planes = self._planes(data, height[i], width[i], scratch) if self._planes and planar[i] else None
            return planes or self.decoded(row, data, scratch)

        def use(i: int, image: Planes | np.ndarray) -> None:
            if isinstance(image, Planes):
                crops_of_planes(*image, boxes[i], self.sizes, places[i], out)
            else:
                resized_crops(image.reshape(-1), image.shape[1], boxes[i], self.sizes, places[i], out)

        return self._start(rows, make, use)

    def decode(self, rows: np.ndarray, out: np.ndarray) -> list[Task]:
        """Start to decode samples `rows` [N], one after the other, into the flat uint8 `out`."""
        ends = np.cumsum(3 * self.manifest.hw[rows].astype(np.int64).prod(axis=1))

        def target(i: int) -> np.ndarray:
            return out[ends[i - 1] if i else 0 : ends[i]]

        def use(i: int, image: np.ndarray) -> None:
            if not np.shares_memory(image, out):  # stored as pixels
                target(i)[:] = image.reshape(-1)

        return self._start(rows, lambda i, row, data: self.decoded(row, data, target(i)), use)

    def read(self, rows: np.ndarray, ready: Callable[[int, Any], Any], out: list[Any]) -> list[Task]:
        """Start to read samples `rows` [N]; `out` [N] gets what `ready` makes of each row and its JPEG or pixels."""
        return self._start(rows, lambda i, row, data: ready(row, data), out.__setitem__)

    def decoded(self, row: int, data: bytes | np.ndarray, target: np.ndarray | None = None) -> np.ndarray:
        """The image [H, W, 3] uint8 of a JPEG, in `target` if given, or the stored pixels as they are; UserError names
        a damaged one."""
        try:
            image = data if isinstance(data, np.ndarray) else simplejpeg.decode_jpeg(data, buffer=target)
        except (ValueError, RuntimeError) as error:
            raise damaged(self.manifest, self.reader, row, str(error), data) from error
        height, width = image.shape[:2]
        check_size(self.manifest, self.reader, row, height, width, data)
        return image

    def crop_now(self, params: BatchParams, out: np.ndarray) -> list[Tensor]:
        """Crop a batch into the flat uint8 `out`: its views, each [N, S, S, 3], over that memory. UserError if a sample
        fails."""
        if failed := self.wait(self.crop(params.rows, params.boxes, out)):
            raise next(iter(failed.values()))
        return CroppedViews(torch.from_numpy(out), self.sizes.tolist()).views()

    def wait(self, tasks: Sequence[Task]) -> dict[int, UserError]:
        """Wait for the tasks of a batch and count their time: the errors by position in the batch, ascending."""
        with self.times.spent("wait"):
            chunks = [task.result() for task in tasks]
        for chunk in chunks:
            for stage, seconds in zip(THREADED, chunk.spent, strict=True):
                self.times[stage] += seconds  # pyright: ignore
        return dict(sorted(item for chunk in chunks for item in chunk.failed.items()))

    def close(self) -> None:
        """End the threads; tasks that have not begun are canceled."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def start(self, samples: int, work: Work, chunks: int = CHUNKS) -> list[Task]:
        """Start `work` on a batch of `samples`, in `chunks` tasks per thread."""
        step = -(-samples // (self.workers.max_threads * chunks)) or 1
        parts = [range(at, min(at + step, samples)) for at in range(0, samples, step)]
        return [self._pool.submit(self._gated, work, part) for part in parts]

    def _gated(self, work: Work, part: range) -> Chunk:
        with self.workers.gate:
            return work(part)

    def _start(self, rows: np.ndarray, make: Make, use: Use) -> list[Task]:
        return self.start(len(rows), lambda part: self._chunk(rows, part, make, use))

    def _chunk(self, rows: np.ndarray, part: range, make: Make, use: Use) -> Chunk:
        failed: dict[int, UserError] = {}
        read = decode = crop = 0.0
        now = time.perf_counter()
        for i in part:
            row = int(rows[i])
            try:
                data, start = self.reader.read(row), now
                read += (now := time.perf_counter()) - start
                image, start = make(i, row, data), now
                decode += (now := time.perf_counter()) - start
                use(i, image)
                start = now
                crop += (now := time.perf_counter()) - start
            except UserError as error:
                failed[i] = error
        return Chunk((read, decode, crop), failed)

    def _scratch(self) -> np.ndarray:
        if not hasattr(self._local, "buffer"):
            self._local.buffer = np.empty(self._largest, np.uint8)
        return self._local.buffer
