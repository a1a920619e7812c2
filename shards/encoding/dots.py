"""The pass of `shrink` along each row on a CPU that multiplies and adds four bytes in one instruction (AVX-512 VNNI).

Sixteen neighboring bytes of an output row are blended together: their taps lie in 64 bytes of the image, out of which
one instruction picks four taps of each (VBMI). A 22-bit weight is three signed bytes, w = a + 256 b + 65,536 c, whose
products are summed apart. The sums are those of kernels.columns, in a quarter of its time.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..kernels import njit
from .kernels import HALF, OPTIONS, clipped, copy, data, load, store

LANES, TAPS, DIGITS = 16, 4, 3  # output bytes of a group, taps of a step, bytes of a weight
WINDOW = LANES * TAPS  # bytes of the image that a step picks from
FEATURES = {"+avx512vbmi", "+avx512vnni"}
_SUMS, _BYTES = ir.VectorType(ir.IntType(32), LANES), ir.VectorType(ir.IntType(8), WINDOW)


def _has_dots(context: Any) -> bool:
    return set(context.codegen().magic_tuple()[2].split(",")) >= FEATURES


@intrinsic
def _available(typingctx):
    """Whether the CPU has both instructions; known when a kernel is compiled."""

    def codegen(context, b, sig, args):
        return ir.Constant(ir.IntType(1), int(_has_dots(context)))

    return types.boolean(), codegen


@intrinsic
def _blend(typingctx, source, starts, places, digits, steps, row, at):
    """row[at..] = the blends of all groups: group g's step s picks source[starts[g] + 12 s + places[64 g..+64]] and
    weighs it by the bytes digits[192 (g steps + s)..+192]."""
    signature = types.void(source, starts, places, digits, steps, row, at)

    def codegen(context, b, sig, args):
        if not _has_dots(context):
            return context.get_dummy_value()
        source_p, starts_p, places_p, digits_p, row_p = (
            data(context, b, sig.args[i], args[i]) for i in (0, 1, 2, 3, 5)
        )
        groups = context.make_array(sig.args[1])(context, b, args[1]).nitems
        steps_v, at_v = args[4], args[6]
        pick = cgutils.get_or_insert_function(
            b.module, ir.FunctionType(_BYTES, [_BYTES] * 2), "llvm.x86.avx512.permvar.qi.512"
        )
        dots = cgutils.get_or_insert_function(
            b.module, ir.FunctionType(_SUMS, [_SUMS] * 3), "llvm.x86.avx512.vpdpbusd.512"
        )
        whole, size = groups.type, ir.Constant(_SUMS, [8] * LANES)
        sums = [cgutils.alloca_once(b, _SUMS) for _ in range(DIGITS)]
        with cgutils.for_range(b, groups) as outer:
            for j, total in enumerate(sums):
                b.store(ir.Constant(_SUMS, [0 if j else HALF] * LANES), total)
            start = b.sext(b.load(b.gep(starts_p, [outer.index])), whole)
            place = load(b, places_p, b.mul(outer.index, ir.Constant(whole, WINDOW)), WINDOW)
            with cgutils.for_range(b, steps_v) as inner:
                window = load(b, source_p, b.add(start, b.mul(inner.index, ir.Constant(whole, 3 * TAPS))), WINDOW)
                picked = b.bitcast(b.call(pick, [window, place]), _SUMS)
                step = b.add(b.mul(outer.index, steps_v), inner.index)
                for j, total in enumerate(sums):
                    where = b.add(b.mul(step, ir.Constant(whole, DIGITS * WINDOW)), ir.Constant(whole, j * WINDOW))
                    digit = b.bitcast(load(b, digits_p, where, WINDOW), _SUMS)
                    b.store(b.call(dots, [b.load(total), picked, digit]), total)
            low, middle, high = map(b.load, sums)
            value = b.add(low, b.shl(b.add(middle, b.shl(high, size)), size))
            store(b, clipped(b, value), row_p, b.add(at_v, b.mul(outer.index, ir.Constant(whole, LANES))))
        return context.get_dummy_value()

    return signature, codegen


@njit(**OPTIONS)
def _tables(begin, weights):
    """starts [G], places [G, LANES, TAPS] and digits [G, steps, DIGITS, LANES] of `_blend`; and whether all taps of a
    group lie in one window, which they do down to a third of the width."""
    n, taps = weights.shape
    groups, steps = -(-3 * n // LANES), -(-taps // TAPS)
    digits = np.zeros((n, steps, DIGITS, TAPS), np.int8)
    for x in range(n):
        for k in range(taps):
            rest = weights[x, k]
            for j in range(DIGITS):
                low = ((rest + 128) & 255) - 128
                digits[x, k // TAPS, j, k % TAPS] = low
                rest = (rest - low) >> 8
    words = digits.view(np.int32).reshape(n, steps, DIGITS)
    starts, places = np.empty(groups, np.int32), np.empty((groups, LANES, TAPS), np.uint8)
    spread, fits = np.empty((groups, steps, DIGITS, LANES), np.int32), True
    for g in range(groups):
        starts[g] = 2147483647
        for i in range(LANES):
            x, channel = divmod(LANES * g + i, 3)
            starts[g] = min(starts[g], 3 * begin[min(x, n - 1)] + channel)
        for i in range(LANES):
            x, channel = divmod(LANES * g + i, 3)
            x = min(x, n - 1)
            place = 3 * begin[x] + channel - starts[g]
            fits &= place + 3 * (TAPS - 1) < WINDOW
            for k in range(TAPS):
                places[g, i, k] = place + 3 * k
            for s in range(steps):
                for j in range(DIGITS):
                    spread[g, s, j, i] = words[x, s, j]
    return starts, places, spread, fits


@njit(**OPTIONS)
def columns(image, begin, weights, out):
    """As kernels.columns; returns False, and does nothing, where the CPU or the width does not fit."""
    if not _available():  # pyright: ignore
        return False
    starts, places, digits, fits = _tables(begin, weights)
    if not fits:
        return False
    height, width, n, steps = image.shape[0], image.shape[1], begin.shape[0], digits.shape[1]
    flat, places, digits = image.reshape(-1), places.reshape(-1), digits.view(np.int8).reshape(-1)
    source = np.zeros(max(3 * width, starts[-1] + 3 * TAPS * steps) + WINDOW, np.uint8)
    for y in range(height):
        copy(flat, 3 * width * y, source, 3 * width)  # pyright: ignore
        _blend(source, starts, places, digits, steps, out, 3 * n * y)  # pyright: ignore
    return True


def warm_up() -> None:
    """Call what Python calls, with arrays of the types that it passes."""
    begin, weights, pixels = np.zeros(1, np.int32), np.ones((1, 1), np.int32), np.zeros((1, 1, 3), np.uint8)
    columns(pixels, begin, weights, np.empty(3 + LANES, np.uint8))
