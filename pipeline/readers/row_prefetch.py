"""Read the next rows ahead into this process, for files that the page cache cannot hold."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...shards.errors import UserError

SWEEP = 1024  # rows that are sorted by their offset in the file and read together
CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")


class RowPrefetcher:
    """A thread that takes `rows`, calls `read(row)` for each in order, SWEEP of them in the order of `place(rows)`, and
    holds up to `room` bytes. pop(row) never waits: on None the caller reads the row itself."""

    def __init__(
        self,
        read: Callable[[int], Any],
        rows: Iterator[np.ndarray],
        place: Callable[[np.ndarray], np.ndarray],
        room: int,
    ):
        self._read, self._rows, self._place, self._room = read, rows, place, room
        self._held: dict[int, Any] = {}
        self._missed: set[int] = set()  # popped before they were read: reading them now would hold them forever
        self._bytes, self._popped, self._ended = 0, 0, False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="viewstream-ahead", daemon=True)
        self._thread.start()

    def pop(self, row: int) -> Any:
        """What `read(row)` returned, once; None if the thread has not read the row."""
        with self._changed:
            self._popped += 1
            data = self._held.pop(row, None)
            if data is None:
                self._missed.add(row)
            else:
                self._bytes -= memoryview(data).nbytes
            self._changed.notify()
            return data

    def close(self) -> None:
        """End the thread and drop what it read."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()
        self._held.clear()

    def _run(self) -> None:
        taken = 0
        for sweep in sweeps(self._rows):
            taken += len(sweep)
            if taken <= self._popped:  # the caller has passed these rows
                with self._changed:
                    self._missed.difference_update(sweep.tolist())
                continue
            for row in sweep[np.argsort(self._place(sweep))].tolist():
                with self._changed:
                    self._changed.wait_for(lambda: self._ended or self._bytes < self._room)
                    if self._ended:
                        return
                    if row in self._missed:
                        self._missed.remove(row)
                        continue
                try:
                    data = self._read(row)
                except UserError:  # the caller reads the row itself and gets the same error
                    continue
                with self._changed:
                    if row in self._missed:  # popped while it was read
                        self._missed.remove(row)
                    elif row not in self._held:
                        self._held[row] = data
                        self._bytes += memoryview(data).nbytes


def sweeps(rows: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The same rows, SWEEP at a time."""
    held = np.empty(0, np.int64)
    for part in rows:
        held = np.concatenate([held, part])
        while len(held) >= SWEEP:
            yield held[:SWEEP]
            held = held[SWEEP:]
    yield held


def free_memory(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> int:
    """Bytes of memory that are free on this machine and within this container's limit (cgroup v2).

    Half of the memory where the system does not say what is free (macOS).
    """
    if not meminfo.exists():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    try:
        limit, used = ((cgroup / file).read_text().strip() for file in ("memory.max", "memory.current"))
    except OSError:
        return free
    return free if limit == "max" else max(0, min(free, int(limit) - int(used)))
