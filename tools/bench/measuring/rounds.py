"""Measuring in rounds: one round runs every case, so a machine that slows down slows all cases alike."""

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

Result = TypeVar("Result")
Case = Callable[[int], float]  # round -> units of work that were done
TICK = 1 / os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """What a unit of a case cost in each round, us."""

    wall: list[float]
    cpu: list[float]  # of this process and of those that it has started


def in_rounds(names: Iterable[str], rounds: int, measure: Callable[[str, int], Result]) -> dict[str, list[Result]]:
    """The results of `measure(name, round)` in rounds 1 to `rounds`, by name.

    Cases alternate (A B C A B C ...). Round 0 warms caches and compilers; its results are dropped.
    """
    results: dict[str, list[Result]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name, kept in results.items():
            result = measure(name, number)
            if number:
                kept.append(result)
    return results


def costs(cases: Mapping[str, Case], rounds: int) -> dict[str, Cost]:
    """Wall and processor time per unit of each case, measured in turn; progress goes to a terminal."""

    def measure(name: str, number: int) -> tuple[float, float]:
        _progress(f"round {number} of {rounds}: {name}")
        start, busy = time.perf_counter(), processor_seconds()
        units = cases[name](number)
        took = time.perf_counter() - start
        own = settle()
        return 1e6 * took / units, 1e6 * (processor_seconds() - busy - own) / units

    found = in_rounds(cases, rounds, measure)
    _progress("")
    return {name: Cost(*map(list, zip(*values, strict=True))) for name, values in found.items()}


def compared(
    cases: Mapping[str, Case], rounds: int, *, unit: str, floor: str = "", peers: Sequence[str] = (), **more: Any
) -> dict[str, Any]:
    """`costs` as the JSON of a group: us per `unit` of each case by round, the case that is the others' `floor`, and
    which of them are `peers`: other programs."""
    found = costs(cases, rounds)
    times = {
        key: {name: [round(us, 2) for us in getattr(cost, key)] for name, cost in found.items()} for key in Cost._fields
    }
    return {"unit": unit, "floor": floor, "peers": [name for name in peers if name in cases], **more, **times}


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def ratio(group: Mapping[str, Any], base: str, name: str, clock: str = "cpu") -> tuple[float, float, float]:
    """Quartiles over rounds of the cost of `base` over that of `name`: how many times as fast `name` is."""
    pairs = zip(group[clock][base], group[clock][name], strict=True)
    return quartiles([a / b for a, b in pairs])


def processor_seconds() -> float:
    """Processor time of this process and of all that it has started: those that have ended, and, where /proc is, those
    that run."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime + sum(map(_spent, _family("self")))


def _progress(text: str) -> None:
    """Show `text` in place of the last one, to a person."""
    if sys.stderr.isatty():
        print(f"\r{text:<70}" + "\r" * (not text), end="", file=sys.stderr, flush=True)


def settle(seconds: float = 2.0) -> float:
    """Wait until workers have finished what they read ahead, which belongs to the case that has just ended; returns the
    processor time of this waiting."""
    own, end, before = time.thread_time(), time.perf_counter() + seconds, processor_seconds()
    while time.perf_counter() < end:
        time.sleep(5 * TICK)
        if (now := processor_seconds()) - before < TICK:
            break
        before = now
    return time.thread_time() - own


def _family(process: str) -> Iterator[str]:
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # it has just ended
            for child in children.read_text().split():
                yield child
                yield from _family(child)


def _spent(process: str) -> float:
    """Processor time of a process and of its children that have ended."""
    with suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) * TICK
    return 0.0
