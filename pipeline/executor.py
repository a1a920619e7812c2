"""One executor through every reader: threads that read a sample, decode it once and cut all its views.

Reading, decoding and cutting release the GIL, so threads scale and nothing is pickled. A chunk of samples is a task;
every thread keeps one decoding buffer, as large as the largest image of the set.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import simplejpeg

from ..shards.errors import UserError
from ..shards.manifest import Manifest
from .batch import SampleReader
from .cut.resize import resized_crops
from .workers import Workers

CHUNKS = 4  # tasks a thread and batch: small enough to even out slow images, large enough to cost nothing


class Chunk(NamedTuple):
    """What a task reports."""

    spent: tuple[float, float, float]  # seconds of read, decode, cut
    failed: dict[int, UserError]  # position in the batch -> why


Task = Future[Chunk]
Room = Callable[[int], np.ndarray]  # position -> where its pixels are decoded to, flat uint8
Use = Callable[[int, np.ndarray], None]  # position and image [H, W, 3], valid until the thread decodes again


class Executor:
    """Start a batch, wait for its tasks later; batches may overlap. `threads` 0: measured (workers.py)."""

    def __init__(self, reader: SampleReader, manifest: Manifest, sizes: Sequence[int], threads: int = 0):
        self.reader, self.manifest, self.workers = reader, manifest, Workers(threads)
        self.sizes = np.array(sizes, np.int64)  # of the views, px
        self._largest = int((manifest.height.astype(np.int64) * manifest.width).max()) * 3
        self._pool = ThreadPoolExecutor(self.workers.max_threads, thread_name_prefix="viewstream")
        self._local = threading.local()

    def bytes_for(self, samples: int) -> int:
        """Length of the flat buffer that `crop` fills: view after view, each [samples, S, S, 3]."""
        return int(3 * (self.sizes**2).sum()) * samples

    def crop(self, rows: np.ndarray, boxes: np.ndarray, out: np.ndarray) -> list[Task]:
        """Start on samples `rows` [N] with cuts `boxes` [N, V, CROP_FIELDS] into the flat uint8 `out`."""
        each = 3 * self.sizes**2  # bytes of one sample's view
        starts = np.concatenate([[0], np.cumsum(each[:-1] * len(rows))])

        def use(i: int, image: np.ndarray) -> None:
            resized_crops(image.reshape(-1), image.shape[1], boxes[i], self.sizes, starts + i * each, out)

        return self._start(rows, lambda i: self._scratch(), use)

    def decode(self, rows: np.ndarray, out: np.ndarray) -> list[Task]:
        """Start on samples `rows` [N], decoded one behind the other into the flat uint8 `out`."""
        ends = np.cumsum(3 * self.manifest.hw[rows].astype(np.int64).prod(axis=1))

        def room(i: int) -> np.ndarray:
            return out[ends[i - 1] if i else 0 : ends[i]]

        def use(i: int, image: np.ndarray) -> None:
            if not np.shares_memory(image, out):  # stored as pixels
                room(i)[:] = image.reshape(-1)

        return self._start(rows, room, use)

    def wait(self, tasks: list[Task]) -> Chunk:
        """A batch's tasks as one chunk."""
        chunks = [task.result() for task in tasks]
        failed = {i: error for chunk in chunks for i, error in chunk.failed.items()}
        read, decode, cut = (
            (sum(times) for times in zip(*(c.spent for c in chunks), strict=True)) if chunks else (0.0,) * 3
        )
        return Chunk((read, decode, cut), dict(sorted(failed.items())))

    def close(self) -> None:
        """End the threads; tasks that have not begun are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _start(self, rows: np.ndarray, room: Room, use: Use) -> list[Task]:
        step = -(-len(rows) // (self.workers.max_threads * CHUNKS)) or 1
        parts = [range(at, min(at + step, len(rows))) for at in range(0, len(rows), step)]
        return [self._pool.submit(self._chunk, rows, part, room, use) for part in parts]

    def _chunk(self, rows: np.ndarray, part: range, room: Room, use: Use) -> Chunk:
        failed: dict[int, UserError] = {}
        read = decode = cut = 0.0
        with self.workers.gate:
            now = time.perf_counter()
            for i in part:
                row = int(rows[i])
                try:
                    data, start = self.reader.read(row), now
                    read += (now := time.perf_counter()) - start
                    image, start = self._decoded(row, data, room(i)), now
                    decode += (now := time.perf_counter()) - start
                    use(i, image)
                    start = now
                    cut += (now := time.perf_counter()) - start
                except UserError as error:
                    failed[i] = error
        return Chunk((read, decode, cut), failed)

    def _scratch(self) -> np.ndarray:
        if not hasattr(self._local, "buffer"):
            self._local.buffer = np.empty(self._largest, np.uint8)
        return self._local.buffer

    def _decoded(self, row: int, data: bytes | np.ndarray, room: np.ndarray) -> np.ndarray:
        """[H, W, 3] uint8"""
        try:
            image = data if isinstance(data, np.ndarray) else simplejpeg.decode_jpeg(data, buffer=room)
        except (ValueError, RuntimeError) as error:
            raise damaged(self.manifest, self.reader, row, str(error)) from error
        if image.shape[:2] != (self.manifest.height[row], self.manifest.width[row]):
            wrong = f"it is {image.shape[0]} x {image.shape[1]} px, the manifest says {self.manifest.hw[row].tolist()}"
            raise damaged(self.manifest, self.reader, row, wrong)
        return image


def damaged(manifest: Manifest, reader: SampleReader, row: int, why: str) -> UserError:
    """The error of a sample that does not decode: which it is, where it lies, what mends it."""
    built = "plain" not in manifest.info.formats
    remedy = f"`python tools/verify_shards.py {manifest.root} --repair` mends it" if built else "mend or remove it"
    return UserError(
        f"sample {row} ({manifest.keys[row]}) is damaged ({why}), it lies in {reader.locate(row)}: "
        f"{remedy}, `train.py --on-error skip` trains without it"
    )
