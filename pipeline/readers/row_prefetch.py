"""Reading ahead into this process, for files that the page cache would not hold: the next rows, in file order."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...shards.errors import UserError

TOGETHER = 1024  # rows that are sorted by their place in the file and read in one sweep
CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")


class RowPrefetcher:
    """`read`s `rows` [M] before they are wanted, until `room` bytes are held; `pop` hands each over once, or None when
    it is not here yet: then whoever wants it reads it, and no one waits."""

    def __init__(self, read: Callable[[int], Any], rows: np.ndarray, where: np.ndarray, size: np.ndarray, room: int):
        self._read, self._rows, self._where, self._size, self._room = read, rows, where, size, room
        self._held: dict[int, Any] = {}
        self._missed: set[int] = set()  # taken before they were read: reading them now would hold them for ever
        self._bytes, self._taken, self._ended = 0, 0, False
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="viewstream-ahead", daemon=True)
        self._thread.start()

    def pop(self, row: int) -> Any:
        """What was read of `row`, once."""
        with self._moved:
            self._taken += 1
            data = self._held.pop(row, None)
            if data is None:
                self._missed.add(row)
            else:
                self._bytes -= int(self._size[row])
            self._moved.notify()
            return data

    def close(self) -> None:
        """End the thread and forget what it read."""
        with self._moved:
            self._ended = True
            self._moved.notify()
        self._thread.join()
        self._held.clear()

    def _run(self) -> None:
        for at in range(0, len(self._rows), TOGETHER):
            part = self._rows[at : at + TOGETHER]
            if at + TOGETHER <= self._taken:  # the reader has gone past
                continue
            for row in part[np.argsort(self._where[part])].tolist():
                with self._moved:
                    self._moved.wait_for(lambda: self._ended or self._bytes < self._room)
                    if self._ended:
                        return
                    if row in self._missed:
                        self._missed.remove(row)
                        continue
                try:
                    data = self._read(row)
                except UserError:  # whoever wants the row will meet it again, and say so
                    continue
                with self._moved:
                    if row in self._missed:  # meanwhile
                        self._missed.remove(row)
                    elif row not in self._held:
                        self._held[row] = data
                        self._bytes += int(self._size[row])


def free_memory(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> int:
    """Bytes that may still be used here: by the machine, and by this container's limit (cgroup v2)."""
    lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    try:
        limit, used = ((cgroup / file).read_text().strip() for file in ("memory.max", "memory.current"))
    except OSError:
        return free
    return free if limit == "max" else max(0, min(free, int(limit) - int(used)))
