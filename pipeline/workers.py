"""How many threads decode: the number asked for, or one that is measured in the first seconds.

The number never changes a pixel, so it may change during training.
"""

import os
import threading
import time

from ..shards.engine import cores

TRIAL = 0.7  # busy seconds before a number of threads is judged
ENOUGH = 0.97  # share of the best rate; the fewest threads that reach it are taken


def ranks_here() -> int:
    """The processes of a run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def share_of_cores() -> int:
    """Cores for this process: those it may use, divided by the ranks on this machine."""
    return max(1, cores() // ranks_here())


class Gate:
    """Lets at most `limit` threads in at a time and measures how long any thread was inside."""

    def __init__(self, limit: int):
        self.limit, self._inside = limit, 0
        self._busy, self._since = 0.0, 0.0
        self._free = threading.Condition()

    def __enter__(self) -> None:
        with self._free:
            self._free.wait_for(lambda: self._inside < self.limit)
            if not self._inside:
                self._since = time.perf_counter()
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._free:
            self._inside -= 1
            if not self._inside:
                self._busy += time.perf_counter() - self._since
            self._free.notify()

    def set(self, limit: int) -> None:
        """Change the limit; threads that are inside stay."""
        with self._free:
            self.limit = limit
            self._free.notify_all()

    def busy(self) -> float:
        """Seconds so far in which at least one thread was inside."""
        with self._free:
            return self._busy + (time.perf_counter() - self._since if self._inside else 0.0)


class Workers:
    """The gate of a thread pool. With `threads` 0 it tries half the cores, all of them, and twice as many."""

    def __init__(self, threads: int = 0):
        share = share_of_cores()
        self._candidates = [] if threads else sorted({max(1, share // 2), share, 2 * share})
        self.max_threads = threads or self._candidates[-1]
        self.gate = Gate(threads or self._candidates[0])
        self._rates: dict[int, float] = {}
        self._samples, self._began = 0, 0.0

    @property
    def settled(self) -> bool:
        """Whether the number no longer changes."""
        return not self._candidates

    def done(self, samples: int) -> None:
        """Count a finished batch of `samples`; judge the number of threads after TRIAL seconds."""
        if self.settled:
            return
        self._samples += samples
        spent = self.gate.busy() - self._began
        if spent < TRIAL:
            return
        self._rates[self._candidates.pop(0)] = self._samples / spent
        self._samples, self._began = 0, self.gate.busy()
        enough = ENOUGH * max(self._rates.values())
        fewest = min(threads for threads, rate in self._rates.items() if rate >= enough)
        self.gate.set(self._candidates[0] if self._candidates else fewest)
