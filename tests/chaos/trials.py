"""One program that gets signals at random moments, and what it leaves after each and at the end."""

import random
import resource
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from .contents import Content
from .forked import Program
from .parts import Part
from .programs import Case

SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT, "stop": signal.SIGSTOP}
CODES = {"kill": (-9, 0), "term": (-15, 143, 0), "int": (130, 0), "stop": (0,)}
# 0: the signal came at the end, or training saved; 143, 137: the launcher of ranks, one of which was ended
KILLED_RANK = (137, -9, 0)  # -9: the launcher itself, which had no ranks yet
STATES = ("nothing written", "unfinished", "complete", "torn")
STOPPED = 0.3  # seconds


@dataclass(frozen=True)
class Whole:
    """What an undisturbed run leaves, and the seconds of processor time that it takes."""

    content: Content
    names: set[str]
    seconds: float


def undisturbed(case: Case, folder: Path) -> Whole:
    """Run a case without signals, and what runs beside it after it."""
    fresh(case, folder)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _well(Program(case.main, case.words(0), folder))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if case.beside:
        _well(Program(case.main, list(case.beside), folder))
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Whole(case.content(folder), names(folder), seconds)


class Trial:
    """One to three signals, each to the same program started again. `states`: what there was after each; `faults`: what
    must not be."""

    def __init__(self, part: Part, whole: Whole, folder: Path):
        self.part, self.case, self.whole, self.folder = part, part.case, whole, folder
        fresh(part.case, folder)
        self.begun, self.first = part.case.content(folder), names(folder)
        self.states: list[str] = []
        self.faults: list[str] = []
        self.programs: list[Program] = []

    def run(self, rng: random.Random) -> None:
        beside = self._start(list(self.case.beside)) if self.case.beside else None
        for turn in range(rng.choice((1, 1, 2, 3))):
            self._strike(turn, rng)
        done = self._complete()
        last = self._start(self.case.words(len(self.states)))
        if (code := last.end()) and not (done and code == 2):  # a set that is complete is not made again
            self._bad(f"code {code} at the end", last)
        if beside and (code := beside.end()):
            self._bad(f"code {code} of the other program", beside)
        found = self.case.content(self.folder)
        for name in found.keys() | self.whole.content.keys():
            if found.get(name) != self.whole.content.get(name):
                self._bad(f"{name} differs at the end")
        for name in sorted(names(self.folder) - self.whole.names):
            self._bad(f"{name} is left")
        for program in self.programs:
            if "Traceback" in program.text():
                self._bad("a traceback", program)
            for name in program.left():
                self._bad(f"{name} is left")

    def _strike(self, turn: int, rng: random.Random) -> None:
        done, program = self._complete(), self._start(self.case.words(turn))
        if not program.reach(rng.uniform(0, self.whole.seconds), rng.uniform(0, 0.02)):
            if (code := program.end()) and not (done and code == 2):
                self._bad(f"code {code} without a signal", program)
            return
        program.send(SIGNALS[self.part.signal], *self._targets(program, rng))
        if self.part.signal == "stop":
            time.sleep(STOPPED)
            program.send(signal.SIGCONT)
        codes = KILLED_RANK if self.part.to == "rank" else CODES[self.part.signal]
        if (code := program.end()) not in codes and not (done and code == 2):
            self._bad(f"code {code}", program)
        self._look()

    def _targets(self, program: Program, rng: random.Random) -> list[int]:
        """Who gets the signal; Ctrl-C goes to the group of a terminal, which ranks have left."""
        if self.part.to == "first":
            return [program.pid]
        found = program.members(group=self.part.signal == "int")
        started = [pid for pid in found if pid != program.pid]
        return [rng.choice(started)] if self.part.to == "rank" and started else found

    def _look(self) -> None:
        """What there is after a signal."""
        try:
            found = self.case.content(self.folder)
        except Exception as error:  # whatever a torn file makes its reader raise
            self.states.append("torn")
            return self._bad(f"torn: {error!r}")
        for name, value in found.items():
            moves = name in self.case.moves or value == self.begun.get(name)
            if not moves and value != self.whole.content.get(name):
                self._bad(f"{name} is torn")
        same = found == self.begun and names(self.folder) == self.first
        self.states.append("nothing written" if same else "complete" if found == self.whole.content else "unfinished")

    def _complete(self) -> bool:
        try:
            return self.case.content(self.folder) == self.whole.content
        except Exception:  # noted by _look
            return False

    def _start(self, words: list[str]) -> Program:
        self.programs.append(Program(self.case.main, words, self.folder))
        return self.programs[-1]

    def _bad(self, fault: str, program: Program | None = None) -> None:
        self.faults.append(fault + (f" ({program.text().strip()[-1500:]})" if program else ""))


def fresh(case: Case, folder: Path) -> None:
    """The folder as the case begins with it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    case.begin(folder)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _well(program: Program) -> None:
    code, text = program.end(), program.text()
    assert code == 0, text
    assert not program.left()
