"""The curve of every schedule that is a cosine."""

import math


def half_cosine(step: float, total: float) -> float:
    """Falls from 1 at step 0 to 0 at `total`, on half a period of a cosine."""
    return (1 + math.cos(math.pi * step / total)) / 2
