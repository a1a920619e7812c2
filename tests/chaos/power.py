"""Power is lost at every operation of tiny runs: what a final name holds is whole, and the same command completes it.

python -m tests.chaos.power --seed 0 [--runs POINTS] [--only CASE]

The operations of an undisturbed run (shim.c) are repeated in memory up to each point. Of what is not synced then, none,
all, or a drawn part is left: of the bytes of files, and of the names in folders.
"""

import random
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

from .cases import CASES
from .disk import Disk, restore
from .failures import GOOD, Tried, asked, numbers, printed
from .memory import Memory
from .results import Row

DRAWN = 2  # mixtures at each point


def states(tried: Tried, seed: int, runs: int, only: str = "") -> Iterator[tuple[str, dict[str, bytes | None], bool]]:
    """`POINT,PART`, what a cut leaves there, and whether the program had ended; each content once. `only` this one."""
    memory, seen = Memory(tried.disk.root, tried.before), set()
    points = {*numbers(len(tried.trace), runs), len(tried.trace)}
    for point, operation in enumerate(tried.trace, 1):
        memory.do(operation)
        if point not in points:
            continue
        for part in ("none", "all", *map(str, range(DRAWN))):
            if only not in ("", f"{point},{part}"):
                continue
            drawn: Any = {"none": False, "all": True}.get(part)
            if drawn is None:
                drawn = random.Random(f"{seed} {point} {part}")
            left = memory.after_a_cut(drawn)
            if (content := hash(tuple(left.items()))) not in seen:
                seen.add(content)
                yield f"{point},{part}", left, point == len(tried.trace)


def outcome(tried: Tried, left: dict[str, bytes | None], ended: bool) -> str:
    """Go on from what a cut has left; what came of it."""
    restore(tried.disk.root, left)
    if torn := tried.torn(gaps=True):  # lines since the last checkpoint are not synced: any of them may be lost
        return f"torn: {torn}"
    if ended and (lost := [name for name in tried.differing() if name in tried.after and not tried.unseen(name)]):
        return f"lost: {lost}"
    return tried.continued() or "completed"


def rows(one: Disk, name: str, only: str, seed: int, runs: int) -> list[Row]:
    tried, outcomes = Tried(one, CASES[name]), Counter()
    for at, left, ended in states(tried, seed, runs, only):
        text = outcome(tried, left, ended)
        outcomes[text.partition(":")[0]] += 1
        printed("power", f"{name},{at}", text)
    bad = sum(count for kind, count in outcomes.items() if kind not in GOOD)
    test = "tests/chaos/test_power.py::test_what_a_power_cut_leaves_is_whole_and_the_same_command_completes_it"
    return [Row(f"power lost at the N-th operation, {name}", outcomes.total(), {**outcomes}, bad, test)]


if __name__ == "__main__":
    sys.exit(asked("power", __doc__ or "", rows) > 0)
