"""The curves of every schedule."""

import math


def half_cosine(step: float, total: float) -> float:
    """Falls from 1 at step 0 to 0 at `total`, on half a period of a cosine."""
    return (1 + math.cos(math.pi * step / total)) / 2


def cosine_between(step: float, total: float, begin: float, end: float) -> float:
    """Goes from `begin` at step 0 to `end` at `total`, on half a period of a cosine."""
    return end + (begin - end) * half_cosine(step, total)


def linspace(number: int, count: int, begin: float, end: float) -> float:
    """The number at index `number` of `count` numbers from `begin` to `end`, both among them; `end` after the last."""
    return begin + (end - begin) * number / max(count - 1, 1) if number < count else end


def wave(step: float, period: float, low: float, high: float) -> float:
    """Goes up and down on a cosine: `high` at step 0 and after each `period`, `low` half a period later."""
    return low + (high - low) * half_cosine(2 * step, period)
