"""The files of a set that are in a stage, as a reader meets them: taken when they have come, and counted."""

import errno
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np

from .cache import leased
from .stage import StagedSet
from .stager import Stager, stager

LOG = logging.getLogger(__name__)

LOOK = 1.0  # seconds between two looks for files that have come


@dataclass
class Tally:
    """What this process has read of a set that is staged."""

    folder: Path
    sizes: np.ndarray  # [files] bytes
    here: np.ndarray  # [files] bool: read from the stage now
    reads: int = 0  # of samples
    hits: int = 0  # those from the stage


_tallies: dict[tuple[Path, str], Tally] = {}  # by set and format


def summary() -> str:
    """What the stages of this process did, in one line; "" if it has none."""
    if not (all_of := [*_tallies.values()]):
        return ""
    reads, hits = sum(tally.reads for tally in all_of), sum(tally.hits for tally in all_of)
    here, total = sum(int(t.sizes[t.here].sum()) for t in all_of), sum(int(t.sizes.sum()) for t in all_of)
    folders = ", ".join(dict.fromkeys(str(tally.folder) for tally in all_of))
    return (
        f"stage: {hits / max(1, reads):.1%} of {reads:,} reads came from {folders}, where {here / 1e9:.3g} of "
        f"{total / 1e9:.3g} GB are staged"
    )


class Copies:
    """Has the set staged, by the stager of this node, and gives each file that is there, open, to `take(number, file)`,
    which keeps it. A file is leased while it is open, so no other job removes it."""

    def __init__(self, staged: StagedSet, take: Callable[[int, FileIO], None]):
        self.staged, self.take = staged, take
        sizes = np.array([line["bytes"] for line in staged.lines], np.int64)
        self.here = np.zeros(len(sizes), bool)  # [files]
        key = staged.manifest.root, staged.form
        self.tally = _tallies.setdefault(key, Tally(staged.stage.folder, sizes, self.here.copy()))
        self._busy, self._next, self._quiet = threading.Lock(), 0.0, False
        self._stager: Stager | None = None
        self.look()
        if not self.here.all() and (found := stager()):
            self._stager = found
            found.stage(staged)

    def count(self, numbers: np.ndarray) -> None:
        """Note reads of files `numbers` [N], and look for new ones now and then."""
        with self._busy:
            self.tally.reads += len(numbers)
            self.tally.hits += int(self.here[numbers].sum())
            if time.monotonic() >= self._next and not self.here.all():
                self.look()

    def look(self) -> None:
        """Take what has come."""
        self._next = time.monotonic() + LOOK
        try:
            there = set(os.listdir(self.staged.folder))
        except OSError:  # no folder yet, or none that may be read: the stager says why
            there = set[str]()
        for number in np.flatnonzero(~self.here).tolist():
            if self.staged.names[number] in there and (file := self._leased(number)):
                self.take(number, file)
                self.here[number] = self.tally.here[number] = True
        if self._stager and (how := self._stager.ended):
            self._note(f"the process that stages files {how}")

    def _leased(self, number: int) -> FileIO | None:
        path = self.staged.folder / self.staged.names[number]
        try:
            return leased(path, self.staged.lines[number]["bytes"])
        except OSError as error:
            remedy = ", raise the limit with `ulimit -n`" if error.errno == errno.EMFILE else ""
            self._note(f"{path} cannot be opened ({error.strerror}){remedy}")
            return None

    def _note(self, text: str) -> None:
        """Say once, on one rank of the node, why files are read from the source."""
        if self._stager and not self._quiet:
            self._quiet = True
            LOG.warning(f"note: --stage: {text}: what is not staged is read from its source")
