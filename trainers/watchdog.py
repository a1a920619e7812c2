"""The end of a job that hangs: which rank is silent or where all of them stand, and everybody's stacks.

Each rank has a thread that writes a beat into a store that all ranks share, and reads those of the others. There are
two signs of a hang: a rank whose beats stop (its process was stopped, or is gone with its machine), and ranks of which
none leaves a mark (marks.py) for as long. A rank that is slow alone, at a checkpoint or in a compiler, is no hang: the
others wait for it, and it moves. Time is counted in turns of the thread, so a job that was stopped as a whole and goes
on later has lost nothing.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from .beats import KEEPER, Beat, Board, host_name
from .launch import end
from .marks import progress
from .stacks import PATIENCE, dump, in_words

CODE = 124  # of the job, as of the program `timeout`
TURNS = 20  # of the thread in the seconds of --watchdog


_watching: "list[Watchdog]" = []


class Watchdog:
    """Watches from `start`, at which all ranks have made theirs, to `stop`; `rank` is one of `ranks`. It ends the
    process, and so the job, after `seconds` without a sign of life or progress."""

    def __init__(self, seconds: int, rank: int = 0, ranks: int = 1):
        self.seconds, self.rank, self.turn = seconds, rank, seconds / TURNS
        self.beats: dict[int, Beat] = dict.fromkeys(range(ranks), Beat())
        self.beats[rank] = Beat(1, host=host_name())
        self.board = Board(rank, ranks, self.beats[rank]) if ranks > 1 else None
        self.silent = dict.fromkeys(range(ranks), 0)  # turns since a rank's last beat
        self._moves, self._stopped = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, name="viewstream-watchdog", daemon=True)

    def start(self) -> None:
        progress.rest()
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.ident:
            self._thread.join()
        self._beat(state="left")

    def _watch(self) -> None:
        while not self._stopped.wait(self.turn):
            idle = self.beats[self.rank].idle + 1
            if not progress.limited or progress.moves != self._moves:
                idle, self._moves = 0, progress.moves
            self._beat(idle=idle, doing=progress.doing)
            if self.hangs:
                self._end()

    def _beat(self, **now: Any) -> None:
        """Leave a beat, and see whose has come. While the store does not answer nothing is known of any rank but the
        one that keeps it."""
        own = self.beats[self.rank]
        self.beats[self.rank] = own = own._replace(number=own.number + 1, **now)
        found = self.board.exchange(own, min(self.turn, PATIENCE)) if self.board else None
        for rank in self.silent.keys() - {self.rank}:
            beat = found[rank] if found else self.beats[rank]
            if beat != self.beats[rank] or beat.state == "left":
                self.beats[rank], self.silent[rank] = beat, 0
            elif found or KEEPER in (rank, self.rank):
                self.silent[rank] += 1

    @property
    def gone(self) -> list[int]:
        """The ranks that are silent for this rank or for another one."""
        missed = {rank for beat in self.beats.values() for rank in beat.gone}
        return [rank for rank, turns in self.silent.items() if turns >= TURNS or rank in missed]

    @property
    def hangs(self) -> bool:
        """Whether the job has come to its end: also if another rank says so."""
        here = [beat for beat in self.beats.values() if beat.state != "left"]
        ending = any(beat.state in ("dumped", "ends") for beat in here)
        return bool(self.gone) or ending or all(beat.idle >= TURNS for beat in here)

    def _end(self) -> None:
        """Leave the stacks of this process and end it. The first rank of each machine that still can speaks for all of
        it, once they have left theirs."""
        gone = self.gone
        dump(self.rank)
        self._beat(state="dumped", gone=gone)
        here = [rank for rank, beat in self.beats.items() if rank not in gone and beat.state != "left"]
        first = min((rank for rank in here if self._near(rank)), default=self.rank)
        if first != self.rank and self._wait([first], ("ends",), turns=4):
            time.sleep(PATIENCE)  # its launcher ends this process too
            os._exit(CODE)
        self._wait(here, ("dumped", "left"), turns=2)  # in two turns every rank has looked once
        self._beat(state="ends")
        time.sleep(min(self.turn, 1.0))  # the others may read it in the store, which may end with this process
        end(CODE, f"error: {self.words(gone)}")

    def _wait(self, ranks: list[int], states: tuple[str, ...], turns: int) -> bool:
        """Whether all `ranks` are in one of `states` within some turns."""
        since = time.monotonic()
        while self.board and not self.board.closed and time.monotonic() - since < turns * self.turn + PATIENCE:
            self._beat()
            if all(self.beats[rank].state in states for rank in ranks):
                return True
            time.sleep(min(self.turn, 1.0))
        return False

    def words(self, gone: list[int]) -> str:
        """The hang in one line."""
        here = {rank: beat.doing for rank, beat in self.beats.items() if rank not in gone and beat.state != "left"}
        hosts = {rank: beat.host for rank, beat in self.beats.items()}
        return in_words(self.seconds, gone, here, hosts)

    def _near(self, rank: int) -> bool:
        """Whether a rank is on this machine."""
        return self.beats[rank].host == self.beats[self.rank].host


@contextmanager
def watched(seconds: int, rank: int, ranks: int) -> Iterator[Callable[[], None]]:
    """Watch this process until the end of the block; yields what begins it. 0 `seconds`: not at all; a block within
    another is watched already."""
    if not seconds or _watching:
        yield lambda: None
        return
    dog = Watchdog(seconds, rank, ranks)
    _watching.append(dog)
    try:
        yield dog.start
    finally:
        _watching.remove(dog)
        dog.stop()


def time_out(seconds: int) -> timedelta | None:
    """The time-out of collectives under a watchdog of `seconds`, 0: none. It comes last, since it cannot know whether
    the rank that it waits for is busy."""
    return timedelta(seconds=3 * seconds) if seconds else None
