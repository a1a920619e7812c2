"""A cap on bandwidth: all threads of a process that copy into its cache take what they copy from one budget."""

import time
from functools import cache
from threading import Event, Lock

from ...shards.sources.retry import Stopped

MEGABIT = 125_000  # bytes
BURST = 1.0  # seconds: what was not used for longer is lost


class Bandwidth:
    """A budget of `mbps` megabits per second for all threads together, 0 without a limit."""

    def __init__(self, mbps: float):
        self.rate = mbps * MEGABIT  # bytes per second
        self._lock, self._paid = Lock(), time.monotonic()  # until when all that was taken is paid for

    def take(self, count: int, stop: Event) -> None:
        """Return when the budget has paid for `count` bytes more; Stopped when `stop` is set before."""
        if not self.rate:
            return
        with self._lock:
            now = time.monotonic()
            self._paid = max(self._paid, now - BURST) + count / self.rate
            pause = self._paid - now
        if stop.wait(max(0.0, pause)):
            raise Stopped


@cache
def bandwidth(mbps: float) -> Bandwidth:
    """The budget of this process for this number: one for all of its sets, stores and stagers."""
    return Bandwidth(mbps)
