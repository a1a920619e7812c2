"""The files of a set that are in a stage, as a reader meets them: taken when they have come, and counted."""

import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from io import FileIO
from typing import NamedTuple

import numpy as np

from .cache import leased
from .stage import StagedSet
from .stager import stager

LOOK = 1.0  # seconds between two looks for files that have come


class Copies:
    """Has the set staged, by the stager of this node, and gives each file that is there, open, to `take(number, file)`,
    which keeps it. A file is leased while it is open, so no other job removes it."""

    def __init__(self, staged: StagedSet, take: Callable[[int, FileIO], None]):
        self.staged, self.take = staged, take
        self.here = np.zeros(len(staged.lines), bool)  # [files]
        self.reads = self.hits = 0
        self._busy, self._next, self._quiet = threading.Lock(), 0.0, False
        self._stager = stager()
        if self._stager:
            self._stager.stage(staged)
        self.look()
        opened.append(self)

    def count(self, numbers: np.ndarray) -> None:
        """Note reads of files `numbers` [N], and look for new ones now and then."""
        with self._busy:
            self.reads += len(numbers)
            self.hits += int(self.here[numbers].sum())
            if time.monotonic() >= self._next and not self.here.all():
                self.look()

    def look(self) -> None:
        """Take what has come."""
        self._next = time.monotonic() + LOOK
        try:
            there = set(os.listdir(self.staged.places[0].parent)) if len(self.here) else set[str]()
        except OSError:  # no folder yet, or none that may be read: its stager says why
            there = set[str]()
        for number in np.flatnonzero(~self.here).tolist():
            path = self.staged.places[number]
            if path.name in there and (file := self._leased(number)):
                self.take(number, file)
                self.here[number] = True
        if self._stager and (how := self._stager.ended):
            self._note(f"the process that stages files {how}")

    def _leased(self, number: int) -> FileIO | None:
        try:
            return leased(self.staged.places[number], self.staged.lines[number]["bytes"])
        except OSError as error:
            remedy = ", raise the limit with `ulimit -n`" if error.errno == errno.EMFILE else ""
            self._note(f"{self.staged.places[number]} cannot be opened ({error.strerror}){remedy}")
            return None

    def _note(self, text: str) -> None:
        """Say once, on one rank of the node, why files are read from the source."""
        if self._stager and not self._quiet:
            self._quiet = True
            print(f"note: --stage: {text}: what is not staged is read from its source", file=sys.stderr, flush=True)


opened: list[Copies] = []  # in this process


class Summary(NamedTuple):
    """What stages did for a process."""

    reads: int  # of samples
    hits: int  # those from a stage
    bytes: int  # in stages, of the sets that were read
    total: int  # bytes of these sets
    folders: tuple[str, ...]

    def __str__(self) -> str:
        share = self.hits / self.reads if self.reads else 0.0
        return (
            f"stage: {share:.1%} of {self.reads:,} reads came from {', '.join(self.folders)}, "
            f"{self.bytes / 1e9:.3g} of {self.total / 1e9:.3g} GB are staged"
        )


def summary() -> Summary | None:
    """All stages of this process together, None if there are none. A set that was opened twice is counted once."""
    if not opened:
        return None
    sets = {(copies.staged.manifest.root, copies.staged.form): copies for copies in opened}.values()
    sizes = [(np.array([line["bytes"] for line in copies.staged.lines], np.int64), copies.here) for copies in sets]
    return Summary(
        sum(copies.reads for copies in opened),
        sum(copies.hits for copies in opened),
        sum(int(size[here].sum()) for size, here in sizes),
        sum(int(size.sum()) for size, _ in sizes),
        tuple(dict.fromkeys(str(copies.staged.stage.folder) for copies in sets)),
    )
