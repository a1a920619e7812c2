"""The inner loops of the crop in plain numba: for every CPU, and the law of vectors.py.

Values are levels << lift, in int32. A product is (a * b + 2^14) >> 15, which one instruction of AVX-512, AVX2 and NEON
computes in 16 bits, where `drop` is 15; where it is 0, products are exact and their sum is shifted. Rows lie in flat
arrays; `at` and `to` are where one begins.
"""

from typing import Any

import numpy as np

from ...shards.kernels import njit

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "cache": True}


@njit(**OPTIONS)
def widen(image, at, row, to, n, lift):
    """row[to..] = image[at..] << lift, n values."""
    source, target = image[at : at + n], row[to : to + n]
    for i in range(n):
        target[i] = source[i] << lift


@njit(**OPTIONS)
def narrow(row, at, image, to, n, lift):
    """image[to..] = row[at..] >> lift, rounded and clipped to 0..255, n values."""
    source, target, half = row[at : at + n], image[to : to + n], 1 << lift >> 1
    for i in range(n):
        target[i] = min(max((source[i] + half) >> lift, 0), 255)


@njit(inline="always")
def _shifted(value, bits):
    return np.int32((value + np.int32(1 << bits >> 1)) >> bits)


@njit(**OPTIONS)
def rows(ring, line, first, weights, y, drop, row, to, n):
    """row[to..] = sum over k < T of weights[k, y] * row (first + k) % T of the ring, of `line` values each."""
    total = row[to : to + n]
    for k in range(len(weights)):
        at, weight = (first + k) % len(weights) * line, weights[k, y]
        source = ring[at : at + n]
        for i in range(n):
            product = _shifted(source[i] * weight, drop)
            total[i] = total[i] + product if k else product


@njit(**OPTIONS)
def columns(row, at, begin, spread, channels, drop, out, to):
    """out[to + i] = sum over k < T of spread[k, i] * row[at + (begin[i // channels] + k) * channels + i % channels].

    A pixel is copied as four values, so that three values of slack follow `row` and `out`."""
    n, one = len(begin) * channels, np.uint64(1)
    total, picked = out[to : to + n], np.empty(n + 3, np.int32)
    for k in range(len(spread)):
        for x in range(len(begin)):
            i, j = np.uint64(at + (begin[x] + k) * channels), np.uint64(x * channels)
            a, b, c, d = row[i], row[i + one], row[i + one + one], row[i + one + one + one]
            picked[j], picked[j + one], picked[j + one + one], picked[j + one + one + one] = a, b, c, d
        weights = spread[k]
        for i in range(n):
            product = _shifted(picked[i] * weights[i], drop)
            total[i] = total[i] + product if k else product


@njit(**OPTIONS)
def settle(row, at, n, bits):
    """row[at..] >>= bits, rounded, n values."""
    total = row[at : at + n]
    for i in range(n):
        total[i] = _shifted(total[i], bits)
