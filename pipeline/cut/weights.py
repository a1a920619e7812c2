"""Which source pixels make an output pixel, and with what whole weights: the same ones on every machine.

Positions are whole multiples of 1 / (2 * total) px, the filters polynomials of them. Every value up to the division is
a whole number below 2^53 for images up to 65,535 px, so that neither fused nor reordered operations change a weight.
"""

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from ...shards.kernels import njit

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "cache": True}  # without fastmath
TOGETHER = 4  # taps that columns.py adds at once, at most
PIECE = 8  # source values that it multiplies at once where it makes pixels one by one, of up to four channels


@intrinsic
def apart(typingctx):
    """Keep LLVM from copying the calling function into its callers, where it would be compiled again."""

    def codegen(context, b, sig, args):
        b.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), codegen


@njit(inline="always")
def aligned(n, kind):
    """[n] values of dtype `kind` from the start of a cache line, since a vector that straddles two is read twice."""
    room = np.empty(n + 64, kind)
    skip = (-room.ctypes.data & 63) // room.itemsize
    return room[skip : skip + n]


@njit(**OPTIONS)
def count_taps(size, total, cubic):
    """How many source pixels make one of `total` output pixels, at most."""
    return min(-(-(4 if cubic else 2) * max(size, total) // total), size)


@njit(**OPTIONS)
def taps_of(size, total, first, mirrored, cubic, full, n):
    """Resize `size` px to `total`: the first tap of each of `n` output pixels from `first` on (from the far end if
    mirrored) [n] int32, and weights [taps, n] int32. Those of a pixel sum to `full`: their running sum is rounded."""
    apart()  # pyright: ignore
    taps, unit, reach = count_taps(size, total, cubic), 2.0 * max(size, total), 2.0 if cubic else 1.0
    begin, at, norm = np.empty(n, np.int32), np.empty(n), np.zeros(n)
    for i in range(n):
        center = (2.0 * (first + (n - 1 - i if mirrored else i)) + 1.0) * size
        low = math.floor((center - reach * unit + total) / (2.0 * total))
        begin[i] = np.int32(min(max(low, 0.0), float(size - taps)))
        at[i] = (2.0 * begin[i] + 1.0) * total - center
    upto = np.empty((taps, n))
    for k in range(taps):
        for i in range(n):
            norm[i] += _weight(abs(at[i] + 2.0 * k * total), unit, cubic)
            upto[k, i] = norm[i]
    weights = np.empty((taps, n), np.int32)
    at[:] = 0.0
    for k in range(taps):
        for i in range(n):
            rounded = math.floor(upto[k, i] * full / norm[i] + 0.5)
            weights[k, i] = np.int32(rounded - at[i])
            at[i] = rounded
    return begin, weights


@njit(inline="always")
def _weight(distance, unit, cubic):
    """The filter at distance / unit: a triangle, or PIL's cubic, times `unit` or 2 * unit^3."""
    left = unit - distance
    if not cubic:
        return max(left, 0.0)
    if left >= 0.0:
        return left * (2.0 * unit * unit + 2.0 * unit * distance - 3.0 * distance * distance)
    return left * max(left + unit, 0.0) ** 2


@njit(**OPTIONS)
def tables_of(begin, weights, size, total, channels, lanes, kind):
    """The arguments of `columns`: begin, and weights of each value of an output row as `kind`, the distance of those
    of one tap (or pixel), and how many rounds add them up; then how many taps a round adds to `lanes` neighboring
    values from one window of twice as many source values (0: pixels are made one by one), how many of these values
    are its own, how many windows there are, where each begins [G], and places of values in it [G * lanes]."""
    apart()  # pyright: ignore
    n, step = len(begin) * channels, lanes
    while step > 0 and _widest(step, size, total, channels) > 2 * lanes:
        step //= 2
    if step == 0 or 2 * step < lanes:
        step, groups, shared = 0, 0, 0
        spread, pitch, rounds = _by_pixel(weights, channels, kind)
    else:
        groups = -(-n // step)
        room = (2 * lanes - _widest(step, size, total, channels)) // channels + 1
        rounds = -(-len(weights) // min(TOGETHER, room))
        shared = -(-len(weights) // rounds)
        pitch = (n + 2 * lanes + 3) // 32 * 32 + 32
        spread = _by_tap(weights, channels, shared * rounds, pitch, kind)
    windows, places = np.empty(groups, np.int32), aligned(groups * lanes, kind)
    at = np.zeros(n + lanes, np.int32)
    for c in range(channels):
        for x in range(len(begin)):
            at[x * channels + c] = begin[x] * channels + c
    for g in range(groups):
        first, last = g * step, min((g + 1) * step, n) - 1
        windows[g] = min(begin[first // channels], begin[last // channels]) * channels
        for i in range(lanes):
            places[g * lanes + i] = at[first + i] - windows[g]
    return begin, spread, pitch, rounds, shared, step, groups, windows, places


@njit(inline="always")
def _widest(step, size, total, channels):
    """How many source values `step` neighboring values of an output row take one tap from, at most."""
    return (-(-((step - 2) // channels + 1) * size // total) + 1) * channels


@njit(inline="always")
def _by_pixel(weights, channels, kind):
    """Weights in the order in which pixels take them, PIECE per round."""
    (taps, n), each = weights.shape, PIECE // channels
    rounds = -(-taps // each)
    pitch = rounds * PIECE
    spread = aligned(n * pitch, kind)
    spread[:] = 0
    for k in range(taps):
        for x in range(n):
            for c in range(channels):
                spread[x * pitch + k // each * PIECE + k % each * channels + c] = weights[k, x]
    return spread, pitch, rounds


@njit(inline="always")
def _by_tap(weights, channels, taps, pitch, kind):
    """Weights of all values, tap after tap."""
    spread = aligned(taps * pitch, kind)
    spread[:] = 0
    for k in range(len(weights)):
        for c in range(channels):
            for x in range(weights.shape[1]):
                spread[k * pitch + x * channels + c] = weights[k, x]
    return spread
