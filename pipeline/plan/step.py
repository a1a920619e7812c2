"""What a rank takes in one step: samples, and which showing of the epoch each of them is."""

from typing import NamedTuple

import numpy as np


class Step(NamedTuple):
    """The samples that a rank takes in one step, or those of a whole epoch."""

    rows: np.ndarray  # [N] int64 ids
    occurrence: np.ndarray  # [N] int64: distinguishes an id's showings in one epoch, on all ranks; 0 without repeats


def once(rows: np.ndarray) -> Step:
    """The step of `rows` [N] that the epoch shows once."""
    return Step(rows, np.zeros(len(rows), np.int64))


def padded(epoch: Step, length: int) -> Step:
    """The first `length` positions of an epoch that begins again at its end, where occurrences continue."""
    lap, at = np.divmod(np.arange(length), len(epoch.rows))
    return Step(epoch.rows[at], epoch.occurrence[at] + lap * (1 + epoch.occurrence.max()))
