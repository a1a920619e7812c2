"""Requests ahead: rows of remote files are fetched by several threads before they are read."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from itertools import chain
from queue import SimpleQueue
from typing import Any

import numpy as np

from ...shards.engine import THREADS
from ...shards.errors import UserError
from ...shards.sources.retry import Stopped

ROWS, ROOM = 2048, 1 << 28  # rows, and bytes of them, that are held or on their way; loaders read from several batches
GRACE = 5.0  # seconds that close() waits for a silent server; the threads end by themselves later


class RowFetcher:
    """Calls `read(row, stop)` for coming `rows` on THREADS threads, because requests in flight hide the time that each
    takes. At most ROWS of them and ROOM bytes, of `size(row)` each, are ahead of those that were taken."""

    def __init__(
        self, read: Callable[[int, threading.Event], Any], rows: Iterator[np.ndarray], size: Callable[[int], int]
    ):
        self._read, self._size = read, size
        self._rows = chain.from_iterable(part.tolist() for part in rows)
        self._tasks: dict[int, deque[Future[Any]]] = {}
        self._missed = Counter[int]()  # taken before their turn: fetching them now would hold them forever
        self._ahead = self._bytes = 0
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._queue = SimpleQueue[tuple[int, Future[Any]] | None]()
        self._threads = [
            threading.Thread(target=self._run, name="viewstream-ahead", daemon=True) for _ in range(THREADS)
        ]
        with self._lock:
            self._start()
        for thread in self._threads:
            thread.start()

    def take(self, row: int) -> Any:
        """What `read` returned for the row, once, or its error; None if it is not on its way. Stopped after `close`."""
        with self._lock:
            if row not in self._tasks:
                self._missed[row] += 1
                return None
            task = self._tasks[row].popleft()
            if not self._tasks[row]:
                del self._tasks[row]
            self._ahead -= 1
            self._bytes -= self._size(row)
            self._start()
        try:
            return task.result()
        except CancelledError as error:
            raise Stopped from error

    def holds(self, rows: np.ndarray) -> np.ndarray:
        """[N] bool: which of `rows` [N] it has, or has on their way, so that they must be taken."""
        with self._lock:
            return np.array([row in self._tasks for row in rows.tolist()], bool)

    def close(self) -> None:
        """End the threads, each at the end of its request, and drop what was fetched."""
        self._stop.set()
        with self._lock:
            for task in chain.from_iterable(self._tasks.values()):
                task.cancel()
            self._tasks.clear()
            self._rows = iter(())
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(GRACE)

    def _start(self) -> None:
        """Queue the next rows while there is room."""
        while self._ahead < ROWS and self._bytes < ROOM and (row := next(self._rows, None)) is not None:
            if self._missed[row]:
                self._missed[row] -= 1
                continue
            task = Future[Any]()
            self._tasks.setdefault(row, deque()).append(task)
            self._ahead += 1
            self._bytes += self._size(row)
            self._queue.put((row, task))

    def _run(self) -> None:
        while item := self._queue.get():
            row, task = item
            if task.set_running_or_notify_cancel():
                try:
                    task.set_result(self._read(row, self._stop))
                except (UserError, Stopped) as error:
                    task.set_exception(error)
