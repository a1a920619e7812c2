"""Programs are killed at random moments and started again until they end: the result is that of a run without a kill.

    make chaos PART=kills RUNS=200 SEED=7
    python -m tests.chaos.kills --seed 7 --only 'build*,index'      some parts
    python -m tests.chaos.kills --seed 7 --only build --number 3    one trial of a part again, as a bad outcome says

A moment is a share of the processor time that an undisturbed run takes, so it depends little on other programs, or the
first change of its folder. After each signal what has its final name is that of the undisturbed run, or whole where it
changes on the way; at the end all content is the same, and no file, lock, process or shared memory is left.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from .forked import with_one_thread
from .parts import Part, parts
from .programs import Room
from .results import Row, keep, show
from .rivals import RIVALS, rivals
from .trials import STATES, Trial, Whole, undisturbed

TEST = "tests/chaos/test_kills.py::test_programs_that_are_killed_end_as_if_nothing_had_happened"
RUNS = 200  # signals, of all parts together


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="0: from the clock")
    parser.add_argument("--runs", type=int, default=RUNS, help="signals, of all parts together")
    parser.add_argument("--only", default="", help="parts, with commas; * stands for any letters")
    parser.add_argument("--number", type=int, help="one trial of a part")
    options = parser.parse_args()
    with_one_thread()
    seed = options.seed or int(time.time())
    print(f"seed {seed}: make chaos PART=kills RUNS={options.runs} SEED={seed} does the same again", flush=True)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        tempfile.tempdir = folder  # of the programs too: a launcher that is killed leaves a folder there
        room = Room(Path(folder))
        try:
            rows = list(all_rows(room, seed, options, Path(folder) / "work"))
        finally:
            room.close()
    if options.only:
        return show(rows) > 0
    return keep("kills", f"make chaos PART=kills RUNS={options.runs} SEED={seed}", seed, rows) > 0


def all_rows(room: Room, seed: int, options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    def wanted(name: str) -> bool:
        return any(fnmatch(name, pattern) for pattern in options.only.split(",")) or not options.only

    found = parts(room)
    total = sum(part.case.share for part in found)
    for part in found:
        if wanted(part.name):
            runs = max(1, round(options.runs * part.case.share / total))
            yield row_of(part, undisturbed(part.case, folder), seed, runs, options.number, folder)
    for name in RIVALS:
        if wanted(name):
            yield rivals(room, name, max(1, options.runs // 10), folder)


def row_of(part: Part, whole: Whole, seed: int, runs: int, number: int | None, folder: Path) -> Row:
    """Trials of a part until it has had `runs` signals, or one of them."""
    states, bad, trial = Counter[str](), 0, number or 0
    while sum(states.values()) < runs and (number is None or trial == number):
        found = Trial(part, whole, folder)
        found.run(random.Random(f"{seed} {part.name} {trial}"))
        states.update(found.states)
        bad += len(found.faults)
        for fault in found.faults:
            print(f"BAD {part.fault}: {fault}; again: --seed {seed} --only {part.name} --number {trial}", flush=True)
        trial += 1
    outcomes = {state if bad else f"{state}, then identical": states[state] for state in STATES if states[state]}
    row = Row(part.fault, sum(states.values()), outcomes, bad, TEST)
    print(f"{part.name}: {outcomes}", flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())
