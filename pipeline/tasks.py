"""The threads of a loader: tasks of a few samples each, for batches that may overlap."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ..shards.errors import UserError
from .timing import THREADED, Times
from .workers import Workers

MAPPED = (32 << 20) - (64 << 10)  # bytes of the largest block that counts for glibc's limit
CHUNKS = 4  # tasks per thread and batch: small enough to even out slow images
LEAST = 8  # samples per task: large enough to cost nothing


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
Work = Callable[[range], Chunk]  # takes the positions of a task


class Tasks:
    """A pool of threads that work on batches. `threads` 0: their number is measured (workers.py)."""

    def __init__(self, threads: int = 0):
        self.workers, self.times = Workers(threads), Times()
        keep_freed_memory()
        self._pool = ThreadPoolExecutor(self.workers.max_threads, thread_name_prefix="viewstream")

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

    def start(self, samples: int, work: Work) -> list[Task]:
        """Start `work` on a batch of `samples`: CHUNKS tasks per thread, fewer of LEAST samples, but one for each."""
        threads = self.workers.gate.limit
        step = min(max(-(-samples // (threads * CHUNKS)), LEAST), -(-samples // threads)) or 1
        parts = [range(at, min(at + step, samples)) for at in range(0, samples, step)]
        return [self._pool.submit(self._gated, work, part) for part in parts]

    def _gated(self, work: Work, part: range) -> Chunk:
        with self.workers.gate:
            return work(part)
