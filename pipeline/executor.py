"""One executor behind every door: threads that read a sample, decode it once and cut all its views.

Reading, decoding and cutting release the GIL, so threads scale and nothing is pickled. A chunk of samples is a task;
every thread keeps one decoding buffer, as large as the largest image of the set.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import simplejpeg

from ..shards.errors import UserError
from ..shards.manifest import Manifest
from .batch import Door
from .resize import cut_all

CHUNKS = 4  # tasks a thread and batch: small enough to even out slow images, large enough to cost nothing


class Executor:
    """`submit` a batch, `gather` its pixels later; batches may overlap."""

    def __init__(self, door: Door, manifest: Manifest, sizes: Sequence[int], threads: int):
        self.door, self.manifest, self.threads = door, manifest, threads
        self.sizes = np.array(sizes, np.int64)  # of the views, px
        self._largest = int((manifest.height.astype(np.int64) * manifest.width).max()) * 3
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="viewstream")
        self._local = threading.local()

    def bytes_for(self, samples: int) -> int:
        """Length of the flat buffer a batch needs: view after view, each [samples, S, S, 3]."""
        return int(3 * (self.sizes**2).sum()) * samples

    def submit(self, rows: np.ndarray, boxes: np.ndarray, out: np.ndarray) -> list[Future[None]]:
        """Start on samples `rows` [N] with cuts `boxes` [N, V, CUT] into the flat uint8 `out`."""
        each = 3 * self.sizes**2  # bytes of one sample's view
        starts = np.concatenate([[0], np.cumsum(each[:-1] * len(rows))])
        step = -(-len(rows) // (self.threads * CHUNKS)) or 1
        return [
            self._pool.submit(self._chunk, rows, boxes, range(at, min(at + step, len(rows))), starts, each, out)
            for at in range(0, len(rows), step)
        ]

    @staticmethod
    def gather(tasks: list[Future[None]]) -> None:
        """Wait for a batch; raises the first error met in it."""
        for task in tasks:
            task.result()

    def close(self) -> None:
        """End the threads; tasks that have not begun are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _chunk(
        self, rows: np.ndarray, boxes: np.ndarray, part: range, starts: np.ndarray, each: np.ndarray, out: np.ndarray
    ) -> None:
        for i in part:
            image = self._decode(int(rows[i]))
            cut_all(image.reshape(-1), image.shape[1], boxes[i], self.sizes, starts + i * each, out)

    def _decode(self, row: int) -> np.ndarray:
        """[H, W, 3] uint8, valid until this thread decodes again."""
        if not hasattr(self._local, "buffer"):
            self._local.buffer = np.empty(self._largest, np.uint8)
        data = self.door.read(row)
        try:
            image = data if isinstance(data, np.ndarray) else simplejpeg.decode_jpeg(data, buffer=self._local.buffer)
        except ValueError as error:
            raise UserError(
                f"sample {row} ({self.manifest.keys[row]}) is damaged ({error}): build the set again"
            ) from None
        if image.shape[:2] != (self.manifest.height[row], self.manifest.width[row]):
            raise UserError(
                f"sample {row} ({self.manifest.keys[row]}) is {image.shape[:2]} px, not as the manifest says"
            )
        return image
