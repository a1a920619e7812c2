"""Measuring in rounds: one round runs every case, so a machine that slows down slows all cases alike."""

from collections.abc import Callable, Iterable
from typing import TypeVar

Result = TypeVar("Result")


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
