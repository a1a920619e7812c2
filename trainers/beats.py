"""The beats of a job's ranks: each leaves its own in a store that they share, and reads those of the others.

A store that is kept by a process that was stopped, or on a machine whose network is cut, does not answer: a connection
to it waits for hours. So each exchange has a thread of its own, which may be left alone.
"""

import json
import os
import socket
from collections.abc import Sequence
from threading import Thread
from typing import Any, NamedTuple

from torch.distributed.rendezvous import rendezvous

from .launch import STORE

KEY = "viewstream-beat-{}"  # of a rank, in the store
KEEPER = 0  # the rank that keeps the store, or whose launcher does


class Beat(NamedTuple):
    """What a rank says about itself. `number` grows with each beat, `idle` is in turns."""

    number: int = 0
    idle: int = 0
    doing: str = ""
    state: str = "works"  # later `left`, or `dumped` and `ends`
    gone: Sequence[int] = ()  # the ranks that it misses
    host: str = ""


class Board:
    """The store of the beats of `ranks` ranks; `own` is the first of this rank. It has a connection of its own: that of
    the process group is held while it waits."""

    def __init__(self, rank: int, ranks: int, own: Beat):
        self.rank, self.keys = rank, [KEY.format(number) for number in range(ranks)]
        self.closed = False  # the process that keeps it is gone
        self._store, self._thread = _store(rank, ranks), Thread()
        self._found: list[Beat] | None = None
        self._leave(own)

    def exchange(self, own: Beat, seconds: float) -> list[Beat] | None:
        """Leave the own beat and read those of all ranks; None if the store does not answer within some seconds."""
        if not self._thread.is_alive() and not self.closed:
            self._found = None
            self._thread = Thread(target=self._exchange, args=(own,), name="viewstream-beats", daemon=True)
            self._thread.start()
            self._thread.join(seconds)
        return None if self._thread.is_alive() or self.closed else self._found

    def _exchange(self, own: Beat) -> None:
        try:
            self._leave(own)
            self._found = [Beat(*json.loads(text)) for text in self._store.multi_get(self.keys)]
        except RuntimeError:
            self.closed = True

    def _leave(self, own: Beat) -> None:
        self._store.set(self.keys[self.rank], json.dumps(own))


def host_name() -> str:
    """The name of this machine."""
    return socket.gethostname()


def _store(rank: int, ranks: int) -> Any:
    file = os.environ.get(STORE)
    store, *_ = next(rendezvous(f"{file}-beats" if file else "env://", rank, ranks))
    return store
