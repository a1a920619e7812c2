"""Fetch the tars of an order in a thread before their rows are read."""

import threading
from collections.abc import Callable
from io import FileIO

import numpy as np

from ...shards.errors import UserError
from ...shards.sources.retry import Stopped
from .shard_use import ShardUse

GRACE = 5.0  # seconds that close() waits for a silent server; the thread ends by itself later


class ShardPrefetcher:
    """A thread that calls `get(shard, stop)` for the shards of `order`, at most `ahead` past the one that is read.
    The tars that are needed at a time, of `sizes` [K] bytes in that order, are kept to `limit` bytes."""

    def __init__(
        self,
        order: ShardUse,
        sizes: np.ndarray,
        ahead: int,
        limit: int,
        get: Callable[[int, threading.Event], FileIO],
    ):
        self.order, self.sizes, self.ahead, self.limit, self.get = order, sizes, ahead, limit, get
        self.number = {shard: number for number, shard in enumerate(order.shard.tolist())}
        self.current = 0  # place in `order` of the shard that is read
        self.changed, self.stop = threading.Condition(), threading.Event()
        self.thread = threading.Thread(target=self._run, name="viewstream-fetch", daemon=True)
        self.thread.start()

    def reached(self, shard: int) -> None:
        """Report that a row of this shard is read now."""
        number = self.number.get(shard, 0)
        if number > self.current:
            with self.changed:
                self.current = max(self.current, number)
                self.changed.notify()

    def close(self) -> None:
        """End the thread at the next piece that it receives."""
        with self.changed:
            self.stop.set()
            self.changed.notify()
        self.thread.join(GRACE)

    def may_fetch(self, number: int) -> bool:
        """Whether shard `number` of the order is at most `ahead` away and fits with all that are still needed."""
        needed = self.order.last[: number + 1] >= self.order.first[self.current]
        return number <= self.current + self.ahead and self.sizes[: number + 1][needed].sum() <= self.limit

    def _run(self) -> None:
        for number, shard in enumerate(self.order.shard.tolist()):
            with self.changed:
                self.changed.wait_for(lambda number=number: self.stop.is_set() or self.may_fetch(number))
            if self.stop.is_set():
                return
            if number >= self.current:
                try:
                    self.get(shard, self.stop).close()
                except Stopped:
                    return
                except UserError:  # a read of its rows fetches it again and gets the error, if there still is one
                    continue
