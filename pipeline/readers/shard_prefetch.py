"""Reading ahead: a thread that fetches the tars of an order before their rows are read."""

import threading
from collections.abc import Callable
from io import FileIO

import numpy as np

from ...shards.errors import UserError
from .cache import Stopped
from .shard_use import ShardUse

GRACE = 5.0  # seconds that ending waits for a silent server; the thread ends by itself then


class ShardPrefetcher:
    """A thread that fetches tars in the order of their first use, at most `ahead` before the one that is read."""

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
        self.at = 0  # the visit that reading has come to
        self.changed, self.stop = threading.Condition(), threading.Event()
        self.thread = threading.Thread(target=self._run, name="viewstream-fetch", daemon=True)
        self.thread.start()

    def reached(self, shard: int) -> None:
        """A row of this shard is read now."""
        number = self.number.get(shard, 0)
        if number > self.at:
            with self.changed:
                self.at = max(self.at, number)
                self.changed.notify()

    def close(self) -> None:
        """End the thread, at the next piece of what it fetches."""
        with self.changed:
            self.stop.set()
            self.changed.notify()
        self.thread.join(GRACE)

    def _run(self) -> None:
        for number, shard in enumerate(self.order.shard.tolist()):
            with self.changed:
                self.changed.wait_for(lambda number=number: self.stop.is_set() or self._near(number))
            if self.stop.is_set():
                return
            if number >= self.at:
                try:
                    self.get(shard, self.stop).close()
                except Stopped:
                    return
                except UserError:  # whoever reads a row of it asks again, and is told if it is still so
                    continue

    def _near(self, number: int) -> bool:
        """May this visit's tar be fetched now? It and all that are still needed must fit."""
        needed = self.order.last[: number + 1] >= self.order.first[self.at]
        return number <= self.at + self.ahead and self.sizes[: number + 1][needed].sum() <= self.limit
