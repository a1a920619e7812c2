"""The keyed permutation of `bijection` in numba; the only module of this folder that needs numba."""

import numpy as np
from numba import njit

from ...shards.keyed import STEP

U = np.uint64  # numba makes a float of a sum of signed and unsigned numbers


@njit(inline="always")
def _mix(x):
    x ^= x >> U(30)
    x *= U(0xBF58476D1CE4E5B9)
    x ^= x >> U(27)
    x *= U(0x94D049BB133111EB)
    return x ^ (x >> U(31))


@njit(nogil=True, cache=True)
def scatter(position, size, key, small, few, more):
    """As `scattered`, for uint64 `position` [M], `size` and `key` [M] or [1]; `more` rounds up to size `small`, else
    `few`."""
    out = np.empty(len(position), np.int64)
    for i in range(len(position)):
        n, k, x = size[min(i, len(size) - 1)], key[min(i, len(key) - 1)], position[i]
        half = U(1)
        while (U(1) << (half + half)) < n:
            half += U(1)
        mask = (U(1) << half) - U(1)
        rounds = few if n > U(small) else more
        if x < U(2) and n > U(1):  # the network is an even permutation: a swap of two positions for half of all keys
            x ^= k >> U(63)
        while True:
            left, right = x >> half, x & mask
            for number in range(rounds):
                word = (U(number) << half) | right
                left, right = right, left ^ (_mix(k + STEP * (word + U(1))) & mask)
            x = (left << half) | right
            if x < n:
                break
        out[i] = x
    return out


def warm_up() -> None:
    """Call what Python calls, with arrays of the types that it passes."""
    one = np.ones(1, np.uint64)
    scatter(one - one, one, one, 1, 1, 1)
