"""Every write, sync, rename and open of tiny runs fails once: one line and code 2, nothing torn, nothing lost.

python -m tests.chaos.failures --seed 0 [--runs EVERY] [--only CASE]

The operations below a folder are numbered (shim.c); number N fails with ENOSPC or EIO, or it and all after it with
EROFS, for every N. Then the same command runs again on a sound disk. `--runs` tries that many N of each, spread evenly.
"""

import argparse
import errno
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from .cases import CASES, DATED, Case, images, shared
from .disk import Answer, Disk, Operation, disk, restore, tree
from .memory import Memory
from .results import Row, keep, show

FAULTS = {"ENOSPC": (errno.ENOSPC, False), "EIO": (errno.EIO, False), "EROFS": (errno.EROFS, True)}
FINISHED = re.compile("already exists|already holds|describes these files already")  # words of a program for that
GOOD = ("one line", "goes on", "completed")
UNSEEN = re.compile(r".*\.(partial|lock|log)|\.lock|building|repair-.*|events\.out\..*")  # no final names, and diaries


class Tried:
    """A case that has run undisturbed: what its folder held before and holds after, and all that a final name held
    whole in between."""

    def __init__(self, disk: Disk, case: Case):
        self.disk, self.case = disk, case
        self.known: set[int] = set()  # states from which the command has completed it
        restore(disk.root, {})
        images(disk.root)
        for name in case.after:
            assert (answer := disk.run(CASES[name].argv)).code == 0, answer.text
        case.prepare(disk.root)
        self.before = tree(disk.root)
        self.answer, self.trace = disk.traced(case.argv)
        assert self.answer.code == 0, self.answer.text
        self.after = tree(disk.root)
        self.whole = _whole(disk.root, self.before, self.trace)

    def unseen(self, name: str) -> bool:
        """Whether a name is not final."""
        return any(UNSEEN.fullmatch(part) for part in Path(name).parts)

    def torn(self, gaps: bool = False) -> list[str]:
        """Final names that hold what no undisturbed run gave them. `gaps`: a log may lack lines before its last one."""
        found = tree(self.disk.root)
        return [name for name, data in found.items() if data is not None and not self._is_whole(name, data, gaps)]

    def differing(self) -> list[str]:
        """Final names that differ from an undisturbed run."""
        found, known = tree(self.disk.root), self.after
        names = [name for name in found.keys() | known.keys() if not self.unseen(name)]
        return [name for name in names if name not in found or name not in known or self._differs(name, found[name])]

    def _differs(self, name: str, data: bytes | None) -> bool:
        return data != self.after[name] and shared(name, data) != shared(name, self.after[name])

    def continued(self) -> str:
        """Run the command on a sound disk; what is wrong then, empty if nothing is. Once from each state."""
        left = {name: repr(shared(name, data)) for name, data in tree(self.disk.root).items() if name[-4:] != ".log"}
        if (state := hash(tuple(left.items()))) in self.known:
            return ""
        if not (wrong := self._continued()):
            self.known.add(state)
        return wrong

    def _continued(self) -> str:
        again = self.disk.run(self.case.argv)
        if again.code and not FINISHED.search(again.text):
            return f"not continued: {again.code} {again.text[-1500:]}"
        return f"differs: {differing}" if (differing := self.differing()) else ""

    def _is_whole(self, name: str, data: bytes, gaps: bool) -> bool:
        known = self.whole.get(name, [])
        if name.endswith(".jsonl"):  # lines are added, and what is no line is cut when the run goes on
            return any(are_lines_of(more, data, gaps) for more in known) or not data
        if self.unseen(name) or data in known:
            return True
        try:
            return name.endswith(DATED) and any(shared(name, more) == shared(name, data) for more in known)
        except ValueError:  # no JSON
            return False


def are_lines_of(log: bytes, lines: bytes, gaps: bool) -> bool:
    """Whether `lines` are the first of a log, or with `gaps` some of them in its order, but for their times."""
    rows, own = shared("log.jsonl", log), shared("log.jsonl", lines)
    if not isinstance(rows, list) or not isinstance(own, list):
        return False
    return [row for row in rows if row in own] == own if gaps else rows[: len(own)] == own


def _whole(root: Path, before: dict[str, bytes | None], trace: list[Operation]) -> dict[str, list[bytes]]:
    """name -> what it held whenever a name was given, or a line was added."""
    memory, known = Memory(root, before), {name: [data] for name, data in before.items() if data is not None}
    for operation in trace:
        memory.do(operation)
        if operation.kind in "rl" or operation.first.endswith(".jsonl"):
            for name, data in memory.seen().items():
                if data is not None and data not in known.setdefault(name, []):
                    known[name].append(data)
    return known


def outcome(tried: Tried, fault: str, number: int) -> str:
    """Let operation `number` fail; what came of it."""
    error, sticky = FAULTS[fault]
    restore(tried.disk.root, tried.before)
    answer = tried.disk.run(tried.case.argv, fail=number, error=error, sticky=sticky)
    if wrong := said(answer):
        return wrong
    if torn := tried.torn():
        return f"torn: {torn}"
    if answer.code == 0 and not tried.differing():
        return "goes on"
    return tried.continued() or "one line"


def said(answer: Answer) -> str:
    """What is wrong with the last words of a program whose disk has failed; empty if nothing is."""
    if "Traceback" in answer.text:
        return f"traceback: {answer.text[-1500:]}"
    errors = re.findall(r"error: .*", answer.text.replace("\r", "\n"))
    if answer.code == 0 and not errors:
        return ""
    if answer.code != 2 or len(errors) != 1:
        return f"other words: code {answer.code}, {answer.text[-700:]}"
    return "" if "(" in errors[0] and ":" in errors[0][7:] else f"no cause: {errors[0]}"


def numbers(count: int, runs: int) -> Iterable[int]:
    """1..count, or `runs` of them."""
    return range(1, count + 1) if not runs else sorted({1 + round(n * (count - 1) / runs) for n in range(runs)})


def rows(one: Disk, name: str, only: str, seed: int, runs: int) -> list[Row]:
    """A row for each fault of a case; `only`: FAULT,NUMBER."""
    tried, found = Tried(one, CASES[name]), []
    for fault in FAULTS:
        outcomes: Counter[str] = Counter()
        for number in numbers(tried.answer.count, runs):
            if not only or only == f"{fault},{number}":
                text = outcome(tried, fault, number)
                outcomes[text.partition(":")[0]] += 1
                printed("failures", f"{name},{fault},{number}", text)
        bad = sum(count for kind, count in outcomes.items() if kind not in GOOD)
        test = "tests/chaos/test_failures.py::test_any_operation_may_fail_in_one_line_and_nothing_is_torn_or_lost"
        found.append(Row(f"{fault} at the N-th operation, {name}", outcomes.total(), {**outcomes}, bad, test))
    return found


def printed(suite: str, at: str, text: str) -> None:
    """Show a bad outcome, and how to see it again."""
    if text.partition(":")[0] not in GOOD:
        print(f"{at}: {text}\n  again: python -m tests.chaos.{suite} --only {at}", flush=True)


def asked(suite: str, about: str, rows: Callable[[Disk, str, str, int, int], list[Row]]) -> int:
    """Run a suite as the command line says; how many outcomes are bad."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=0, help="tries of each fault; 0: all")
    parser.add_argument("--only", default="", help="CASE, or one try as it was printed")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    case, _, only = options.only.partition(",")
    found: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="viewstream-chaos-") as folder, disk(Path(folder, "disk")) as one:
        for name in [case] if case else CASES:
            found += (own := rows(one, name, only, options.seed, options.runs))
            show(own)
    if case or options.runs:
        return sum(row.bad for row in found)
    return keep(suite, f"python -m tests.chaos.{suite} --seed {options.seed}", options.seed, found)


if __name__ == "__main__":
    sys.exit(asked("failures", __doc__ or "", rows) > 0)
