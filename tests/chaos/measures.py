"""What a process uses, and whether that grows over epochs."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

MEMORY = ("rss", "own")
COUNTS = ("threads", "descriptors", "shm", "files")
ROOM = 1.0  # MB in ten epochs
SHARE = 0.05  # of the memory, over the epochs that are looked at


class Use(NamedTuple):
    """What a process and its children use."""

    rss: float  # MB of all memory, pages of files too
    own: float  # MB that no other process shares
    threads: int
    descriptors: int
    shm: int  # entries of /dev/shm that are open or mapped
    files: int  # in the temporary folder


def use(temporary: Path) -> Use:
    """What this process and its children use now."""
    rss = own = threads = descriptors = 0
    shm: set[str] = set()
    for process in _tree(Path(f"/proc/{os.getpid()}")):
        with suppress(FileNotFoundError, ProcessLookupError):  # a child that has just ended
            memory = dict(_kilobytes(process / "smaps_rollup"))
            rss += memory["Rss"]
            own += memory["Private_Clean"] + memory["Private_Dirty"]
            threads += len(os.listdir(process / "task"))
            descriptors += len(os.listdir(process / "fd"))
            shm |= {words[5] for line in _lines(process / "maps") if "/dev/shm/" in line and (words := line.split())}
    files = sum(len(names) for _, _, names in os.walk(temporary))
    return Use(round(rss / 1e3, 2), round(own / 1e3, 2), threads, descriptors, len(shm), files)


def grown(uses: list[Use]) -> list[str]:
    """What grows, in words, one for each measure; nothing grows in the first epochs, which are not looked at.

    Memory: the median slope between any two epochs of the second half is above ROOM per ten epochs, or above SHARE of
    the memory over the half. Counts: the last quarter reaches more than the quarter before.
    """
    found = []
    half, quarter = uses[len(uses) // 2 :], len(uses) // 4
    for name in MEMORY:
        slope = slope_of(half, name)
        if 10 * slope > ROOM or slope * len(half) > SHARE * getattr(half[0], name):
            found.append(f"{name} by {10 * slope:.2f} MB in ten epochs")
    for name in COUNTS:
        before, after = (
            max(getattr(one, name) for one in part) for part in (uses[-2 * quarter : -quarter], uses[-quarter:])
        )
        if after > before:
            found.append(f"{name} from {before} to {after}")
    return found


def slope_of(uses: list[Use], name: str) -> float:
    """Median slope of a measure between any two epochs, per epoch: single jumps do not move it."""
    values = np.array([getattr(one, name) for one in uses], float)
    first, second = np.triu_indices(len(values), 1)
    return float(np.median((values[second] - values[first]) / (second - first)))


def _tree(process: Path) -> Iterator[Path]:
    yield process
    for children in process.glob("task/*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in children.read_text().split():
                yield from _tree(Path(f"/proc/{child}"))


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines()


def _kilobytes(path: Path) -> Iterator[tuple[str, int]]:
    for line in _lines(path):
        name, _, rest = line.partition(":")
        if rest.endswith("kB"):
            yield name, int(rest.split()[0])
