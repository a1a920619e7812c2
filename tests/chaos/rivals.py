"""Two programs that write the same thing at the same time: one does, and the other is refused in one line; of two
evaluations both keep their results."""

import dataclasses
from collections import Counter
from pathlib import Path

from .forked import Program
from .programs import Room
from .results import Row
from .trials import fresh, names, undisturbed

RIVALS = {"build-twice": "build", "train-twice": "train-moco", "static-twice": "static", "evaluate-twice": "evaluate"}
TEST = "tests/chaos/test_kills.py::test_of_two_that_write_one_thing_at_once_one_is_refused"


def rivals(room: Room, name: str, pairs: int, folder: Path) -> Row:
    (case,) = (case for case in room.cases() if case.part == RIVALS[name])
    second = case.words(0)
    if name == "evaluate-twice":
        second = room.evaluating("--untrained")
        case = dataclasses.replace(case, beside=tuple(second))
    whole, outcomes, bad = undisturbed(case, folder), Counter[str](), 0
    for number in range(pairs):
        fresh(case, folder)
        both = [Program(case.main, words, folder) for words in (case.words(0), second)]
        codes = sorted((program.end() or 0) for program in both)
        texts = [program.text() for program in both]
        left = [one for program in both for one in program.left()]
        found = case.content(folder)
        faults = [f"{key} differs" for key in whole.content if found.get(key) != whole.content[key]]
        faults += left + sorted(names(folder) - whole.names) + ["a traceback"] * ("Traceback" in "".join(texts))
        outcome = {(0, 0): "both ended well", (0, 2): "one ended well, the other was refused"}.get(tuple(codes))
        outcomes[outcome or f"codes {codes}"] += 1
        if faults or not outcome:
            bad += 1
            print(f"BAD {name}, pair {number}: codes {codes}, {faults}", *texts, flush=True)
    fault = f"two at once, {case.fault}"
    row = Row(fault, pairs, dict(outcomes), bad, TEST)
    print(f"{name}: {dict(outcomes)}", flush=True)
    return row
