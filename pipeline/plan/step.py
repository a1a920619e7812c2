"""What a rank takes in one step, and an epoch: samples, and which showing of the epoch each of them is."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Step(NamedTuple):
    """The samples at some positions of an epoch, as those that a rank takes in one step."""

    rows: np.ndarray  # [N] int64 ids
    occurrence: np.ndarray  # [N] int64: distinguishes an id's showings in one epoch, on all ranks; 0 without repeats


class Epoch(NamedTuple):
    """One epoch of an order, on all ranks."""

    at: Callable[[np.ndarray], Step]  # the samples at positions [N] int64, each computed by itself
    showings: int = 1  # all occurrences are below this number


def once(rows: np.ndarray) -> Step:
    """The step of `rows` [N] that the epoch shows once."""
    return Step(rows, np.zeros(len(rows), np.int64))


def listed(whole: Step) -> Epoch:
    """The epoch whose samples `whole` lists by position."""
    rows, occurrence = whole
    return Epoch(lambda at: Step(rows[at], occurrence[at]), 1 + int(occurrence.max(initial=0)))


def padded(epoch: Epoch, positions: int) -> Epoch:
    """An epoch of `positions` that begins again at its end, where occurrences continue."""

    def at(position: np.ndarray) -> Step:
        lap, place = np.divmod(position, positions)
        rows, occurrence = epoch.at(place)
        return Step(rows, occurrence + lap * epoch.showings)

    return Epoch(at)
