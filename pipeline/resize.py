"""The cut: a box of a decoded image, resized as PIL's antialiased filters do, in numba without the GIL.

Crop first, then resize: pixels outside the box have no say (torchvision's RandomResizedCrop on PIL images). Bilinear:
0.17 levels from PIL on average and 1 at most, since PIL rounds between its two passes and this does not: vertical pass
first, on whole rows; then the horizontal pass four floats at a time, which makes it about six times faster than PIL.
Bicubic: PIL's order of passes with PIL's rounding between them, since a cubic overshoots and it matters where it is
clipped (up to 14 levels); 1 level at most.
"""

import sys
import threading
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": True, "error_model": "numpy", "cache": True}


@njit(inline="always")
def _weight(x, cubic):
    """A filter at distance `x` >= 0: a triangle, or PIL's cubic."""
    if not cubic:
        return max(0.0, 1.0 - x)
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1.0
    return ((2.5 - 0.5 * x) * x - 4.0) * x + 2.0 if x < 2.0 else 0.0


@njit(**_OPTIONS)
def _taps(at, size, total, first, mirrored, cubic, begin, weights):
    """Weights of the source interval [at, at + size) resized to `total` px, for the len(begin) output pixels
    from `first` on (from the far end if mirrored). Fills begin [n] and weights [n, widest]; returns the taps in use."""
    n = begin.shape[0]
    scale = size / total
    stretch = max(scale, 1.0)
    reach = 2.0 * stretch if cubic else stretch
    used = 1
    for i in range(n):
        out = first + (n - 1 - i if mirrored else i)
        centre = (out + 0.5) * scale
        low = max(int(centre - reach + 0.5), 0)
        high = min(int(centre + reach + 0.5), size)
        norm = 0.0
        for k in range(high - low):
            norm += _weight(abs(low + k + 0.5 - centre) / stretch, cubic)
        for k in range(weights.shape[1]):
            inside = k < high - low
            weights[i, k] = _weight(abs(low + k + 0.5 - centre) / stretch, cubic) / norm if inside else 0.0
        while high - low > 1 and weights[i, high - low - 1] == 0.0:
            high -= 1
        used = max(used, high - low)
        begin[i] = at + low
    return used


@njit(inline="always")
def _blend_rows(image, base, stride, weights, taps, acc, n):
    """acc[:n] = sum of `taps` image rows by weight; two and three taps unrolled, since most crops need no more."""
    r0 = image[base : base + n]
    w0 = weights[0]
    if taps == 1:
        for i in range(n):
            acc[i] = w0 * np.float32(r0[i])
        return
    r1 = image[base + stride : base + stride + n]
    w1 = weights[1]
    if taps == 2:
        for i in range(n):
            acc[i] = w0 * np.float32(r0[i]) + w1 * np.float32(r1[i])
        return
    r2 = image[base + 2 * stride : base + 2 * stride + n]
    w2 = weights[2]
    for i in range(n):
        acc[i] = w0 * np.float32(r0[i]) + w1 * np.float32(r1[i]) + w2 * np.float32(r2[i])
    for k in range(3, taps):
        row = image[base + k * stride : base + k * stride + n]
        w = weights[k]
        for i in range(n):
            acc[i] += w * np.float32(row[i])


@intrinsic
def _blend_columns(typingctx, acc, begin, weights, taps, n, row):
    """row[3x..3x+3] = 0.5 + sum over k of weights[x * taps + k] * acc[3 (begin[x] + k)..+3], for x < n.

    A pixel's three channels travel as one vector of four; the fourth lane is the next pixel's and is overwritten by it,
    so `acc` and `row` need four floats of slack.
    """
    signature = types.void(acc, begin, weights, taps, n, row)

    def codegen(context, b, sig, args):
        acc_p, begin_p, weights_p, row_p = (
            context.make_array(sig.args[i])(context, b, args[i]).data for i in (0, 1, 2, 5)
        )
        taps_v, n_v = args[3], args[4]
        index, lane = taps_v.type, ir.IntType(32)
        quad = ir.VectorType(ir.FloatType(), 4)
        three = ir.Constant(index, 3)
        blank, spread = ir.Constant(quad, ir.Undefined), ir.Constant(ir.VectorType(lane, 4), [0] * 4)
        total = cgutils.alloca_once(b, quad)
        with cgutils.for_range(b, n_v) as outer:
            x = outer.index
            start = b.mul(b.sext(b.load(b.gep(begin_p, [x])), index), three)
            b.store(ir.Constant(quad, [0.5] * 4), total)
            with cgutils.for_range(b, taps_v) as inner:
                k = inner.index
                pixel = b.bitcast(b.gep(acc_p, [b.add(start, b.mul(k, three))]), quad.as_pointer())
                weight = b.load(b.gep(weights_p, [b.add(b.mul(x, taps_v), k)]))
                weight = b.shuffle_vector(b.insert_element(blank, weight, ir.Constant(lane, 0)), blank, spread)
                product = b.fmul(b.load(pixel, align=4), weight, flags=("fast",))
                b.store(b.fadd(b.load(total), product, flags=("fast",)), total)
            b.store(b.load(total), b.bitcast(b.gep(row_p, [b.mul(x, three)]), quad.as_pointer()), align=4)
        return context.get_dummy_value()

    return signature, codegen


@njit(**_OPTIONS)
def cut(image, width, box, size, out):
    """One cut of a flat RGB image (rows of `width` px): `box` [CUT] int32, see augment.crops; out [3 * size * size]."""
    top, left, height, wide, total_y, total_x, first_y, first_x = box[:8]
    rows, columns = np.empty(size, np.int32), np.empty(size, np.int32)
    cubic = box[9] != 0
    support = 4 if cubic else 2
    weights_y = np.empty((size, support * int(np.ceil(max(height / total_y, 1.0))) + 2), np.float32)
    weights_x = np.empty((size, support * int(np.ceil(max(wide / total_x, 1.0))) + 2), np.float32)
    taps_y = _taps(top, height, total_y, first_y, False, cubic, rows, weights_y)
    taps_x = _taps(left, wide, total_x, first_x, box[8] != 0, cubic, columns, weights_x)
    flat_x = np.ascontiguousarray(weights_x[:, :taps_x]).reshape(-1)
    lead = min(columns[0], columns[size - 1])
    reach = min(max(columns[0], columns[size - 1]) + taps_x, left + wide) - lead  # source px that any output needs
    columns -= lead
    if cubic:
        _rows_first(image, width, top + height, lead, reach, rows, taps_y, weights_y, columns, taps_x, flat_x, out)
        return
    acc = np.zeros(3 * (reach + taps_x) + 4, np.float32)
    row = np.empty(3 * size + 4, np.float32)
    for y in range(size):
        taps = min(taps_y, top + height - rows[y])
        _blend_rows(image, (rows[y] * width + lead) * 3, 3 * width, weights_y[y], taps, acc, 3 * reach)
        if taps_x == 2:  # a constant lets the compiler unroll the inner loop
            _blend_columns(acc, columns, flat_x, 2, size, row)  # pyright: ignore
        elif taps_x == 3:
            _blend_columns(acc, columns, flat_x, 3, size, row)  # pyright: ignore
        else:
            _blend_columns(acc, columns, flat_x, taps_x, size, row)  # pyright: ignore
        line = out[3 * size * y : 3 * size * (y + 1)]
        for i in range(3 * size):
            line[i] = np.uint8(np.int32(row[i]))


@njit(**_OPTIONS)
def _rows_first(image, width, end, lead, reach, rows, taps_y, weights_y, columns, taps_x, weights_x, out):
    """The bicubic cut: each source row is resized and rounded, then output rows are blended of those."""
    size = len(rows)
    first, last = rows[0], min(rows[size - 1] + taps_y, end)
    acc = np.zeros(3 * (reach + taps_x) + 4, np.float32)
    row = np.empty(3 * size + 4, np.float32)
    between = np.empty(3 * size * (last - first), np.uint8)
    for y in range(last - first):
        line = image[((first + y) * width + lead) * 3 :]
        for i in range(3 * reach):
            acc[i] = np.float32(line[i])
        _blend_columns(acc, columns, weights_x, taps_x, size, row)  # pyright: ignore
        _to_levels(row, np.float32(0), between[3 * size * y : 3 * size * (y + 1)])
    for y in range(size):
        taps = min(taps_y, end - rows[y])
        _blend_rows(between, (rows[y] - first) * 3 * size, 3 * size, weights_y[y], taps, row, 3 * size)
        _to_levels(row, np.float32(0.5), out[3 * size * y : 3 * size * (y + 1)])


@njit(inline="always")
def _to_levels(row, half, out):
    """Rounded and clipped to 8 bits; `half` is what rounding still has to add."""
    for i in range(len(out)):
        out[i] = np.uint8(min(max(np.int32(row[i] + half), 0), 255))


@njit(**_OPTIONS)
def cut_all(image, width, boxes, sizes, places, out):
    """Every view's cut of one image: boxes [V, CUT], sizes [V], places [V] = where in the flat `out` each one goes."""
    for v in range(len(sizes)):
        cut(image, width, boxes[v], sizes[v], out[places[v] : places[v] + 3 * sizes[v] * sizes[v]])


def warm_up() -> None:
    """Compile the kernel, or load it from numba's cache; says so where it takes a while, once on a machine."""
    word = threading.Timer(2.0, lambda: print("compiling the resize kernel, once on this machine ...", file=sys.stderr))
    word.start()
    image, boxes = np.zeros(12, np.uint8), np.array([[0, 0, 2, 2, 1, 1, 0, 0, 0, 0]], np.int32)
    cut_all(image, 2, boxes, np.array([1]), np.array([0]), np.empty(3, np.uint8))
    word.cancel()
    word.join()
