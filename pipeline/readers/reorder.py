"""A bounded buffer between samples that arrive in one order and reads in another."""

import threading
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing

from ...shards.errors import UserError

GRACE = 5.0  # seconds that close() waits for a silent source; its thread ends by itself later
SPARE = 16  # of a full room one part in 16 must be free before more is taken: to be woken costs as much as a read
Group = list[tuple[int, bytes]]  # rows and their JPEGs
Groups = Generator[Group, None, None]
Turns = Iterator[tuple[dict[int, int], Groups]]  # how often each row will be read; these rows


class ReorderBuffer:
    """Buffers streamed samples up to `room` bytes, twice that while a reader waits for a later one, because threads do
    not read exactly in order. A thread fills it from `turns`; a row is held until it was taken as often as announced. A
    read waits at most `read_timeout` seconds while nothing arrives."""

    def __init__(self, turns: Turns, room: int, read_timeout: float):
        self.turns, self.room, self.read_timeout = turns, room, read_timeout
        self.low = room - room // SPARE
        self.times: Counter[int] = Counter()  # reads of a row that were announced and have not come
        self.whole = False  # whether all turns were announced
        self.held: dict[int, bytes] = {}
        self.bytes = 0  # that are held
        self.awaited: set[int] = set()
        self.error: UserError | None = None
        self.ended = False
        lock = threading.Lock()
        self.arrived, self.freed = threading.Condition(lock), threading.Condition(lock)
        self.thread = threading.Thread(target=self._run, name="viewstream-stream", daemon=True)
        self.thread.start()

    def take(self, row: int) -> bytes:
        """Wait for a sample and return it; UserError when it cannot come."""
        with self.arrived:
            while row not in self.held:
                self._await(row)
            data = self.held[row]
            self.times[row] -= 1
            if not self.times[row]:
                del self.held[row], self.times[row]
                self.bytes -= len(data)
                if self.bytes <= self.low:
                    self.freed.notify()
            return data

    def close(self) -> None:
        """End the thread, and every read that waits with a UserError."""
        with self.arrived:
            self.ended = True
            self.held.clear()
            self.arrived.notify_all()
            self.freed.notify()
        self.thread.join(GRACE)

    def _await(self, row: int) -> None:
        """Wait for the next group; UserError when this row cannot come."""
        if self.ended:
            raise UserError(f"the loader was closed while a read waited for sample {row}")
        if self.whole and not self.times[row]:
            raise UserError(f"sample {row} was not expected, or not as often: read the rows passed to prefetch()")
        if self.error:
            raise self.error
        self.awaited.add(row)
        self.freed.notify()
        if not self.arrived.wait(self.read_timeout):
            raise UserError(
                f"nothing has arrived for {self.read_timeout:g} s while a read waited for sample {row}: check that the "
                "source of its tar still responds"
            )

    def _run(self) -> None:
        try:
            for times, groups in self.turns:
                with self.arrived:
                    self.times.update(times)
                with closing(groups):
                    for group in groups:
                        if not self._put(group):
                            return
            with self.arrived:
                self.whole = True
                self.arrived.notify_all()
        except UserError as error:
            with self.arrived:
                self.error = error
                self.arrived.notify_all()

    def _put(self, group: Group) -> bool:
        """Wait for room and hold samples; False once the buffer is closed. Readers are woken once for all of them."""
        with self.arrived:
            for row, data in group:
                if self.bytes + len(data) > self.room:
                    self.arrived.notify_all()
                    self._wait_for_room(len(data))
                if self.ended:
                    return False
                if self.bytes + len(data) > 2 * self.room:
                    raise UserError(
                        f"{self.bytes:,} bytes of samples came before sample {min(self.awaited)} and were not read: "
                        "read in the order passed to prefetch(), or give a larger window"
                    )
                if row not in self.held:  # else its tar was read again before it was taken
                    self.held[row] = data
                    self.bytes += len(data)
                self.awaited.discard(row)
            self.arrived.notify_all()
            return True

    def _wait_for_room(self, size: int) -> None:
        """Wait until `size` bytes fit, or a reader waits for a sample that may come after them."""
        most = min(self.low, self.room - size)
        self.freed.wait_for(lambda: self.ended or self.awaited or self.bytes <= most)
