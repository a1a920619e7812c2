"""Flipped bits, lost ends and zeroed pages in every kind of file that the project writes, and what readers say of them.

    make flips SEED=7 RUNS=60           60 of each kind of file
    make flips SEED=7 ONLY=tar          of tars alone
    make flips SEED=7 ONLY=tar:12       number 12 of tars again, with all words and traces

Each is found (one line, exit code 2), harmless (what is read is the same), silent (something else is read without a
word) or ends in a traceback. Nothing may be silent where a checksum is claimed, and nothing ends in a traceback.
"""

import argparse
import io
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

from viewstream.shards.exits import outcome

from .damage import damaged
from .flip_kinds import Check, Kind, kinds
from .readings import Reading, remote
from .results import Row, keep, show
from .web import served
from .zoo import make_zoo

TEST = "tests/chaos/test_flips.py::test_damage_of_any_file_is_found_or_harmless_where_a_checksum_is_claimed"
RUNS = 60  # of each kind


class Outcome(NamedTuple):
    """What a reading of a damaged file came to: found, harmless, silent, several lines or traceback."""

    check: Check
    name: str
    words: str

    @property
    def bad(self) -> bool:
        return self.name in ("traceback", "several lines") or (self.name == "silent" and self.check.claimed)


class Bench:
    """A zoo, and a copy of it in which files are damaged."""

    def __init__(self, folder: Path, url: str):
        self.whole, self.work, self.kinds = folder / "zoo", folder / "work", kinds(url)
        self._expected: dict[Reading, str] = {}
        self._copy()

    def tries(self, kind: Kind, number: int, seed: int) -> tuple[str, list[Outcome]]:
        """Damage `number` of a kind, in words, and what came of it; a function of the seed."""
        chance = random.Random(f"{seed} {kind.name} {number}")
        file = chance.choice(kind.files(self.whole))
        data = (self.whole / file).read_bytes()
        changed, what = damaged(data, chance)
        found = []
        for check in kind.checks:
            expected = self._whole(check)
            (self.work / file).write_bytes(changed)
            found.append(Outcome(check, *read(check.read, self.work, expected)))
            if check.writes:
                self._copy()
            else:
                (self.work / file).write_bytes(data)
        return f"{file}: {what}", found

    def _whole(self, check: Check) -> str:
        """What a check reads of undamaged files."""
        if check.read not in self._expected:
            with quiet():
                self._expected[check.read] = check.read(self.work)
            self._copy()
        return self._expected[check.read]

    def _copy(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.whole, self.work)


def read(reading: Reading, zoo: Path, expected: str) -> tuple[str, str]:
    """What reading comes to, and its words."""
    found: list[str] = []
    try:
        with quiet():
            code, words = outcome(lambda: found.append(reading(zoo)))
    except Exception:
        return "traceback", traceback.format_exc()
    if code:
        return "found" if code == 2 and "\n" not in words else "several lines", words
    return "harmless" if found == [expected] else "silent", ""


@contextmanager
def bench() -> Iterator[Bench]:
    """A bench of its own, and a server of its sets."""
    with tempfile.TemporaryDirectory() as folder, served(Path(folder) / "zoo") as url:
        with quiet():
            make_zoo(Path(folder) / "zoo")
            remote(url)(Path(folder) / "zoo")
        yield Bench(Path(folder), url)


@contextmanager
def quiet() -> Iterator[None]:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield


def rows_of(kind: Kind, outcomes: list[list[Outcome]]) -> Iterator[Row]:
    """One row for each check of a kind."""
    for check in kind.checks:
        own = [one for found in outcomes for one in found if one.check is check]
        names = Counter(f"harmless ({kind.harmless})" if one.name == "harmless" else one.name for one in own)
        what = f"{kind.name}: {check.name}{'' if check.claimed else ' (no checksum claimed)'}"
        yield Row(what, len(own), dict(sorted(names.items())), sum(one.bad for one in own), f"{TEST}[{kind.name}]")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="0: from the clock")
    parser.add_argument("--runs", type=int, default=RUNS, help="faults of each kind of file")
    parser.add_argument("--only", default="", help="KIND, or KIND:NUMBER to do one again")
    options = parser.parse_args()
    seed = options.seed or int(time.time())
    print(f"seed {seed}: make flips SEED={seed} RUNS={options.runs} does the same again", flush=True)
    name, _, number = options.only.partition(":")
    rows: list[Row] = []
    with bench() as on:
        for kind in [on.kinds[name]] if name else on.kinds.values():
            found = []
            for n in [int(number)] if number else range(options.runs):
                what, outcomes = on.tries(kind, n, seed)
                found.append(outcomes)
                for one in outcomes:
                    if number or one.bad:
                        print(f'{one.name}: {what}, {one.check.name}: make flips SEED={seed} ONLY="{kind.name}:{n}"')
                        print("" if not number else one.words, flush=True)
            rows += rows_of(kind, found)
            show(rows[-len(kind.checks) :])
    if name:
        return show(rows) > 0
    return keep("flips", f"make flips SEED={seed} RUNS={options.runs}", seed, rows) > 0


if __name__ == "__main__":
    sys.exit(main())
