"""Samples that come in an order of their own, held in bounded memory until they are read."""

import threading
from collections.abc import Generator
from contextlib import closing

import numpy as np

from ...shards.errors import UserError

GRACE = 5.0  # seconds that ending waits for a source that says nothing; its thread ends by itself then
Samples = Generator[tuple[int, bytes], None, None]  # (row, JPEG)


class ReorderBuffer:
    """A thread takes `samples` as long as they fit into `room` bytes; up to twice as many for a reader who waits, since
    threads do not read quite in order. Row i is held until it was taken `times[i]` times; `read_timeout` is how many
    seconds a reader waits while nothing moves."""

    def __init__(self, samples: Samples, times: np.ndarray, room: int, read_timeout: float):
        self.samples, self.times, self.room, self.read_timeout = samples, times, room, read_timeout
        self.held: dict[int, bytes] = {}
        self.bytes = 0  # of what is held
        self.awaited: set[int] = set()
        self.error: UserError | None = None
        self.ended = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._run, name="viewstream-stream", daemon=True)
        self.thread.start()

    def take(self, row: int) -> bytes:
        """A sample, once it has come; UserError when it will not."""
        with self.changed:
            while row not in self.held:
                self._await(row)
            data = self.held[row]
            self.times[row] -= 1
            if not self.times[row]:
                del self.held[row]
                self.bytes -= len(data)
            self.changed.notify_all()
            return data

    def close(self) -> None:
        """End the thread, and whoever waits."""
        with self.changed:
            self.ended = True
            self.held.clear()
            self.changed.notify_all()
        self.thread.join(GRACE)

    def _await(self, row: int) -> None:
        """Until something moves."""
        if self.ended:
            raise UserError(f"the loader was closed while sample {row} was waited for")
        if not self.times[row]:
            raise UserError(f"sample {row} was not expected, or not as often: read what prefetch() was told")
        if self.error:
            raise self.error
        if row not in self.awaited:
            self.awaited.add(row)
            self.changed.notify_all()
        if not self.changed.wait(self.read_timeout):
            raise UserError(
                f"nothing has come for {self.read_timeout:g} s while sample {row} was waited for: is what its tar "
                "streams from still there?"
            )

    def _run(self) -> None:
        try:
            with closing(self.samples) as samples:
                for row, data in samples:
                    if not self._put(row, data):
                        return
        except UserError as error:
            with self.changed:
                self.error = error
                self.changed.notify_all()

    def _put(self, row: int, data: bytes) -> bool:
        """Hold a sample, once there is room; False when nobody wants it any more."""
        with self.changed:
            self.changed.wait_for(lambda: self.ended or self.awaited or self.bytes + len(data) <= self.room)
            if self.ended:
                return False
            if self.bytes + len(data) > 2 * self.room:
                raise UserError(
                    f"{self.bytes:,} bytes of samples came before sample {min(self.awaited)} and were not read: "
                    "read in the order that prefetch() was told, or give a larger window"
                )
            self.held[row] = data
            self.bytes += len(data)
            self.awaited.discard(row)
            self.changed.notify_all()
            return True
