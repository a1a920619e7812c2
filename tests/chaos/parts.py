"""Which program gets which signal, and how often."""

import dataclasses
from dataclasses import dataclass

from .programs import Case, Room

WORDS = {"kill": "SIGKILL", "term": "SIGTERM", "int": "Ctrl-C", "stop": "SIGSTOP for a moment"}


@dataclass(frozen=True)
class Part:
    """A case and the signal that it gets: all its processes, its first one alone, or one that this has started."""

    case: Case
    signal: str = "kill"
    to: str = "all"

    @property
    def name(self) -> str:
        return "-".join([self.case.part, *({self.signal} - {"kill"}), *({self.to} - {"all"})])

    @property
    def fault(self) -> str:
        where = {"all": "", "first": " of its first process alone", "rank": " of one rank"}[self.to]
        return f"{WORDS[self.signal]}{where}, {self.case.fault}"


def parts(room: Room) -> list[Part]:
    cases = {case.part: case for case in room.cases()}
    once = {name: dataclasses.replace(case, share=1) for name, case in cases.items()}
    found = [Part(case) for case in cases.values()]
    found += [Part(once[name], to="first") for name in ("build", "ranks-moco", "ranks-supervised")]
    found += [Part(once[name], to="rank") for name in ("ranks-moco", "ranks-supervised")]
    found += [Part(once[name], "int") for name in ("build", "repair", "train-moco", "ranks-moco", "static", "evaluate")]
    found += [Part(once[name], "term") for name in ("build", "train-moco", "ranks-moco", "static")]
    return found + [Part(once[name], "stop") for name in ("build", "train-moco", "ranks-moco", "static-tars")]
