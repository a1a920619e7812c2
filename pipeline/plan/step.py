"""What a rank takes in one step: samples, and how often the epoch showed each of them before."""

from typing import NamedTuple

import numpy as np


class Step(NamedTuple):
    """The samples that a rank takes in one step."""

    rows: np.ndarray  # [N] int64 ids
    occurrence: np.ndarray  # [N] int64: how often the epoch shows the id at earlier positions, on any rank


def once(rows: np.ndarray) -> Step:
    """The step of `rows` [N] that the epoch did not show before."""
    return Step(rows, np.zeros(len(rows), np.int64))


def occurrences(order: np.ndarray) -> np.ndarray:
    """How often each id of an order [M] stands at earlier positions, [M] int64."""
    by_id = np.argsort(order, kind="stable")
    ids, places = order[by_id], np.arange(len(order))
    first = np.maximum.accumulate(np.where(ids == np.roll(ids, 1), 0, places))  # place where the run of an id begins
    out = np.empty(len(order), np.int64)
    out[by_id] = places - first
    return out
