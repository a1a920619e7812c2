"""The two passes of `shrink` in numba; the only module of this folder that needs numba."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..kernels import njit

HALF = 1 << 21  # one half in 22-bit fixed point
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "cache": True}


@intrinsic
def _blend(typingctx, image, start, weights, first, taps, row, at):
    """row[at..at+3] = clip((half + sum over k of weights[first + k] * image[start + 3k..+3]) >> 22).

    A pixel's three channels are a vector of four lanes; the next pixel overwrites the fourth lane with its first."""
    signature = types.void(image, start, weights, first, taps, row, at)

    def codegen(context, b, sig, args):
        image_p, weights_p, row_p = (context.make_array(sig.args[i])(context, b, args[i]).data for i in (0, 2, 5))
        start_v, first_v, taps_v, at_v = args[1], args[3], args[4], args[6]
        index, lane = taps_v.type, ir.IntType(32)
        quad, small = ir.VectorType(lane, 4), ir.VectorType(ir.IntType(8), 4)
        blank, spread = ir.Constant(quad, ir.Undefined), ir.Constant(quad, [0] * 4)
        total = cgutils.alloca_once_value(b, ir.Constant(quad, [HALF] * 4))
        b.store(ir.Constant(quad, [HALF] * 4), total)
        with cgutils.for_range(b, taps_v) as loop:
            k = loop.index
            where = b.add(start_v, b.mul(k, ir.Constant(index, 3)))
            pixel = b.zext(b.load(b.bitcast(b.gep(image_p, [where]), small.as_pointer()), align=1), quad)
            weight = b.load(b.gep(weights_p, [b.add(first_v, k)]))
            weight = b.shuffle_vector(b.insert_element(blank, weight, ir.Constant(lane, 0)), blank, spread)
            b.store(b.add(b.load(total), b.mul(pixel, weight)), total)
        value = b.ashr(b.load(total), ir.Constant(quad, [22] * 4))
        low, high = ir.Constant(quad, [0] * 4), ir.Constant(quad, [255] * 4)
        value = b.select(b.icmp_signed("<", value, low), low, value)
        value = b.select(b.icmp_signed(">", value, high), high, value)
        b.store(b.trunc(value, small), b.bitcast(b.gep(row_p, [at_v]), small.as_pointer()), align=1)
        return context.get_dummy_value()

    return signature, codegen


@njit(**_OPTIONS)
def columns(image, begin, weights, out):
    """The pass along each row: image [H, W, 3] -> out [H, n, 3], uint8."""
    height, width, n, taps = image.shape[0], image.shape[1], begin.shape[0], weights.shape[1]
    flat, coefficients, result = image.reshape(-1), weights.reshape(-1), out.reshape(-1)
    line, source = np.empty(3 * n + 4, np.uint8), np.zeros(3 * (width + taps) + 4, np.uint8)
    for y in range(height):
        source[: 3 * width] = flat[3 * width * y : 3 * width * (y + 1)]
        for x in range(n):
            _blend(source, 3 * begin[x], coefficients, x * taps, taps, line, 3 * x)  # pyright: ignore
        result[3 * n * y : 3 * n * (y + 1)] = line[: 3 * n]


@njit(**_OPTIONS)
def rows(image, begin, weights, out):
    """The pass across rows of B bytes: image [H, B] -> out [n, B], uint8."""
    height, size, n, taps = image.shape[0], image.shape[1], begin.shape[0], weights.shape[1]
    total = np.empty(size, np.int32)
    for y in range(n):
        total[:] = HALF
        for k in range(min(taps, height - begin[y])):
            line, weight = image[begin[y] + k], weights[y, k]
            for i in range(size):
                total[i] += weight * np.int32(line[i])
        target = out[y]
        for i in range(size):
            target[i] = np.uint8(min(max(total[i] >> 22, 0), 255))


def warm_up() -> None:
    """Call what Python calls, with arrays of the types that it passes."""
    begin, weights, pixels = np.zeros(1, np.int32), np.ones((1, 1), np.int32), np.zeros((1, 1, 3), np.uint8)
    columns(pixels, begin, weights, np.empty((1, 1, 3), np.uint8))
    rows(pixels.reshape(1, 3), begin, weights, np.empty((1, 3), np.uint8))
