"""How many threads decode: as many as were asked for, or as many as turn out to pay.

The number never changes a pixel, so it may be found out while training goes on.
"""

import os
import threading
import time

from ..shards.engine import cores

TRIAL = 0.7  # seconds that a number of threads is busy before it is judged
ENOUGH = 0.97  # of the best rate: fewer threads that reach it are taken


def share_of_cores() -> int:
    """Cores for this process: those it may use, shared with the other ranks of this machine."""
    return max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


class Gate:
    """Lets `limit` threads in at a time, and knows for how long any was inside."""

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
        """From now on."""
        with self._free:
            self.limit = limit
            self._free.notify_all()

    def busy(self) -> float:
        """Seconds so far in which at least one thread was inside."""
        with self._free:
            return self._busy + (time.perf_counter() - self._since if self._inside else 0.0)


class Workers:
    """The gate of a pool. `asked` 0: tries half the cores, all, and twice as many in the first seconds."""

    def __init__(self, asked: int = 0):
        share = share_of_cores()
        self._todo = [] if asked else sorted({max(1, share // 2), share, 2 * share})
        self.most = asked or self._todo[-1]
        self.gate = Gate(asked or self._todo[0])
        self._rates: dict[int, float] = {}
        self._samples, self._began = 0, 0.0

    @property
    def settled(self) -> bool:
        """Whether the number stays as it is."""
        return not self._todo

    def done(self, samples: int) -> None:
        """A batch of so many is ready."""
        if self.settled:
            return
        self._samples += samples
        spent = self.gate.busy() - self._began
        if spent < TRIAL:
            return
        self._rates[self._todo.pop(0)] = self._samples / spent
        self._samples, self._began = 0, self.gate.busy()
        best = max(self._rates.values())
        self.gate.set(self._todo[0] if self._todo else min(n for n, r in self._rates.items() if r >= ENOUGH * best))
