"""The two passes of `shrink` in numba; the only modules of this folder that need numba are this one and dots.py.

Each writes a few bytes past an image's end, so its output has SLACK bytes more than the image.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ..kernels import njit

HALF = 1 << 21  # one half in 22-bit fixed point
LANES = 64  # bytes of a row that are blended at a time
SLACK = LANES
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "cache": True}


def clipped(b: ir.IRBuilder, total: Any) -> Any:
    """A vector of 22-bit sums -> bytes."""
    kind = total.type
    low, high = (ir.Constant(kind, [level] * kind.count) for level in (0, 255))
    value = b.ashr(total, ir.Constant(kind, [22] * kind.count))
    value = b.select(b.icmp_signed("<", value, low), low, value)
    value = b.select(b.icmp_signed(">", value, high), high, value)
    return b.trunc(value, ir.VectorType(ir.IntType(8), kind.count))


def load(b: ir.IRBuilder, bytes_: Any, at: Any, lanes: int) -> Any:
    """`lanes` bytes from any address."""
    return b.load(b.bitcast(b.gep(bytes_, [at]), ir.VectorType(ir.IntType(8), lanes).as_pointer()), align=1)


def store(b: ir.IRBuilder, value: Any, bytes_: Any, at: Any) -> None:
    """Store a vector of bytes at any address."""
    b.store(value, b.bitcast(b.gep(bytes_, [at]), value.type.as_pointer()), align=1)


def data(context: Any, b: ir.IRBuilder, kind: Any, array: Any) -> Any:
    """The address of an array's first item."""
    return context.make_array(kind)(context, b, array).data


def _blend(lanes: int) -> Any:
    """An intrinsic that blends `lanes` bytes side by side in vector registers."""

    @intrinsic
    def blend(typingctx, image, start, stride, weights, first, taps, row, at):
        """row[at..+lanes] = clip((HALF + sum over k of weights[first + k] * image[start + k stride..+lanes]) >> 22)."""
        signature = types.void(image, start, stride, weights, first, taps, row, at)

        def codegen(context, b, sig, args):
            image_p, weights_p, row_p = (data(context, b, sig.args[i], args[i]) for i in (0, 3, 6))
            start_v, stride_v, first_v, taps_v = args[1], args[2], args[4], args[5]
            lane = ir.IntType(32)
            many = ir.VectorType(lane, lanes)
            total = cgutils.alloca_once(b, many)
            b.store(ir.Constant(many, [HALF] * lanes), total)
            with cgutils.for_range(b, taps_v) as loop:
                pixel = load(b, image_p, b.add(start_v, b.mul(loop.index, stride_v)), lanes)
                weight = b.load(b.gep(weights_p, [b.add(first_v, loop.index)]))
                one = b.insert_element(ir.Constant(many, ir.Undefined), weight, ir.Constant(lane, 0))
                spread = b.shuffle_vector(one, ir.Constant(many, ir.Undefined), ir.Constant(many, [0] * lanes))
                b.store(b.add(b.load(total), b.mul(b.zext(pixel, many), spread)), total)
            store(b, clipped(b, b.load(total)), row_p, args[7])
            return context.get_dummy_value()

        return signature, codegen

    return blend


_blend_pixel, _blend_lanes = _blend(4), _blend(LANES)  # a pixel's fourth byte is written again by the next pixel


@intrinsic
def copy(typingctx, source, at, target, count):
    """target[:count] = source[at..at+count], as memcpy: numba copies slices of bytes one by one."""

    def codegen(context, b, sig, args):
        source_p, target_p = (data(context, b, sig.args[i], args[i]) for i in (0, 2))
        cgutils.raw_memcpy(b, target_p, b.gep(source_p, [args[1]]), args[3], 1)
        return context.get_dummy_value()

    return types.void(source, at, target, count), codegen


@njit(**OPTIONS)
def columns(image, begin, weights, out):
    """The pass along each row: flat image of H rows of W px -> out [H * n * 3 + SLACK], uint8."""
    height, width, n, taps = image.shape[0], image.shape[1], begin.shape[0], weights.shape[1]
    flat, coefficients = image.reshape(-1), weights.reshape(-1)
    source = np.zeros(3 * (width + taps) + 4, np.uint8)
    for y in range(height):
        copy(flat, 3 * width * y, source, 3 * width)  # pyright: ignore
        for x in range(n):
            _blend_pixel(source, 3 * begin[x], 3, coefficients, x * taps, taps, out, 3 * (n * y + x))  # pyright: ignore


@njit(**OPTIONS)
def rows(image, size, begin, weights, out):
    """The pass across rows of `size` bytes: flat image -> out [n * size + SLACK], uint8; both have SLACK."""
    height, n, taps = (len(image) - SLACK) // size, begin.shape[0], weights.shape[1]
    coefficients = weights.reshape(-1)
    for y in range(n):
        start, used = begin[y] * size, min(taps, height - begin[y])
        for x in range(0, size, LANES):
            _blend_lanes(image, start + x, size, coefficients, y * taps, used, out, size * y + x)  # pyright: ignore


def warm_up() -> None:
    """Call what Python calls, with arrays of the types that it passes."""
    begin, weights, pixels = np.zeros(1, np.int32), np.ones((1, 1), np.int32), np.zeros((1, 1, 3), np.uint8)
    narrow, out = np.empty(3 + SLACK, np.uint8), np.empty(3 + SLACK, np.uint8)
    columns(pixels, begin, weights, narrow)
    rows(narrow, 3, begin, weights, out)
