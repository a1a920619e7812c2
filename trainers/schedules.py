"""The curves of every schedule that is a cosine."""

import math


def half_cosine(step: float, total: float) -> float:
    """Falls from 1 at step 0 to 0 at `total`, on half a period of a cosine."""
    return (1 + math.cos(math.pi * step / total)) / 2


def wave(step: float, period: float, low: float, high: float) -> float:
    """Goes up and down on a cosine: `high` at step 0 and after each `period`, `low` half a period later."""
    return low + (high - low) * half_cosine(2 * step, period)
