"""The resized crop: a box of a decoded image, resized with PIL's antialiased filters, in numba without the GIL.

Crop first, then resize, so pixels outside the box have no effect (torchvision's RandomResizedCrop on PIL images).
Bilinear: within 1 level of PIL, 0.17 on average, since PIL rounds between its two passes and this does not. The
vertical pass comes first, on whole rows, then the horizontal pass, both on vectors (blend.py): 1.5 times as fast as
numba's own loops for 224 px views on a CPU with AVX-512. Bicubic: within 1 level; PIL's order of passes with PIL's
rounding between them, since a cubic overshoots and the place where it is clipped matters (up to 14 levels).
"""

import sys
import threading
from typing import Any

import numpy as np
from numba import njit

from . import blend
from .blend import LANES

VERSION = 1  # of the pixels
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": True, "error_model": "numpy", "cache": True}


@njit(inline="always")
def _weight(x, cubic):
    """The filter's weight at distance `x` >= 0: a triangle, or PIL's cubic."""
    if not cubic:
        return max(0.0, 1.0 - x)
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1.0
    return ((2.5 - 0.5 * x) * x - 4.0) * x + 2.0 if x < 2.0 else 0.0


@njit(**_OPTIONS)
def _taps(at, size, total, first, mirrored, cubic, begin, weights):
    """Weights of the source interval [at, at + size) resized to `total` px, for len(begin) output pixels from `first`
    on (from the far end if mirrored). Fills begin [n] and weights [n, widest]; returns the taps in use."""
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
            weight = _weight(abs(low + k + 0.5 - centre) / stretch, cubic)
            weights[i, k] = weight
            norm += weight
        norm = 1.0 / norm
        for k in range(high - low):
            weights[i, k] *= norm
        for k in range(high - low, weights.shape[1]):
            weights[i, k] = 0.0
        while high - low > 1 and weights[i, high - low - 1] == 0.0:
            high -= 1
        used = max(used, high - low)
        begin[i] = at + low
    return used


@njit(inline="always")
def _vectors(n):
    """`n` rounded up to whole vectors."""
    return (n + LANES - 1) // LANES * LANES


@njit(inline="always")
def _zeros(n):
    """[n] float32 zeros from the start of a cache line, since a vector that straddles two lines is read twice."""
    room = np.zeros(n + LANES, np.float32)
    skip = (-room.ctypes.data & 63) // 4
    return room[skip : skip + n]


@njit(**_OPTIONS)
def _lanes(columns, weights, taps):
    """The arguments of `blend.columns` for G groups of 16 floats of an output row: begin [G], places [G * 16], weights
    [G * taps * 16], and how many taps find their pixels in one window, 0 if not even one does."""
    size = len(columns)
    groups = _vectors(3 * size) // LANES if blend.permutes() else 0  # pyright: ignore
    begin = np.empty(groups, np.int32)
    places = _zeros(groups * LANES).view(np.int32)
    widest = 0
    for g in range(groups):
        n = min(LANES, 3 * size - g * LANES)
        low, high = 2147483647, 0
        for i in range(n):
            x, channel = divmod(g * LANES + i, 3)
            place = 3 * columns[x] + channel
            places[g * LANES + i] = place
            low, high = min(low, place), max(high, place)
        for i in range(n):
            places[g * LANES + i] -= low
        begin[g] = low
        widest = max(widest, high - low)
    if groups == 0 or widest >= 2 * LANES:
        return begin, places, places.view(np.float32), 0
    spread = _zeros(groups * taps * LANES)
    for i in range(3 * size):
        g, lane = divmod(i, LANES)
        for k in range(taps):
            spread[(g * taps + k) * LANES + lane] = weights[i // 3 * taps + k]
    return begin, places, spread, taps if 2 <= taps <= 4 and widest + 3 * (taps - 1) < 2 * LANES else 1


@njit(**_OPTIONS)
def resized_crop(image, width, box, size, out):
    """Crop a flat RGB image (rows of `width` px) into out [3 * size * size]; `box` [CROP_FIELDS] int32, see
    augment.crops."""
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
    reach = min(max(columns[0], columns[size - 1]) + taps_x, left + wide) - lead  # source px that the output needs
    columns -= lead
    begin, places, spread, shared = _lanes(columns, flat_x, taps_x)  # pyright: ignore
    tables = columns, flat_x, begin, places, spread
    line, row = _vectors(3 * (reach + taps_x)) + 2 * LANES, _vectors(3 * size + 4)
    end = np.int64(top + height)
    scratch = _zeros(taps_y * (row if cubic else line) + line + row)
    if cubic:
        _rows_first(image, width, end, lead, reach, rows, taps_y, weights_y, tables, taps_x, shared, scratch, out)
    else:
        _columns_last(image, width, end, lead, reach, rows, taps_y, weights_y, tables, taps_x, shared, scratch, out)


@njit(**_OPTIONS)
def _columns_last(image, width, end, lead, reach, rows, taps_y, weights_y, tables, taps_x, shared, scratch, out):
    """The bilinear crop: a ring keeps the source rows that the next output row needs, each converted to floats once."""
    size = len(rows)
    line, n = _vectors(3 * (reach + taps_x)) + 2 * LANES, 3 * reach
    across = _addresses(tables)
    ring, pixels, target, weights = scratch.ctypes.data, image.ctypes.data, out.ctypes.data, weights_y.ctypes.data
    acc = ring + 4 * taps_y * line
    row = acc + 4 * line
    ready = np.int64(rows[0])
    for y in range(size):
        first = np.int64(rows[y])
        taps = min(taps_y, end - first)
        ready = max(ready, first)
        while ready < first + taps:
            blend.floats(pixels + 3 * (ready * width + lead), ring + 4 * line * (ready % taps_y), n)
            ready += 1
        _blend_rows(ring, 4 * line, first, taps_y, taps, weights + 4 * weights_y.shape[1] * y, acc, _vectors(n))
        _blend_columns(acc, across, taps_x, shared, size, row)
        blend.levels(row, target + 3 * size * y, 3 * size)


@njit(**_OPTIONS)
def _rows_first(image, width, end, lead, reach, rows, taps_y, weights_y, tables, taps_x, shared, scratch, out):
    """The bicubic crop: each source row is resized and rounded, then output rows are blended from those."""
    size = len(rows)
    pitch = _vectors(3 * size + 4)
    across = _addresses(tables)
    ring, pixels, target, weights = scratch.ctypes.data, image.ctypes.data, out.ctypes.data, weights_y.ctypes.data
    row = ring + 4 * taps_y * pitch
    acc = row + 4 * pitch
    ready = np.int64(rows[0])
    for y in range(size):
        first = np.int64(rows[y])
        taps = min(taps_y, end - first)
        ready = max(ready, first)
        while ready < first + taps:
            blend.floats(pixels + 3 * (ready * width + lead), acc, 3 * reach)
            _blend_columns(acc, across, taps_x, shared, size, row)
            blend.clipped(row, ring + 4 * pitch * (ready % taps_y), 3 * size)
            ready += 1
        _blend_rows(ring, 4 * pitch, first, taps_y, taps, weights + 4 * weights_y.shape[1] * y, row, pitch)
        blend.clipped_levels(row, target + 3 * size * y, 3 * size)


@njit(inline="always")
def _addresses(tables):
    """The addresses of the tables and the number of groups; the caller keeps the arrays alive."""
    columns, weights, begin, places, spread = tables
    a, b = columns.ctypes.data, weights.ctypes.data
    return a, b, begin.ctypes.data, places.ctypes.data, spread.ctypes.data, len(begin)


@njit(inline="always")
def _blend_rows(ring, line, first, slots, taps, weights, out, n):
    """out[:n] = sum over k < taps of weights[k] * row (first + k) % slots of the ring, rows of `line` bytes."""
    r0, r1 = ring + line * (first % slots), ring + line * ((first + 1) % slots)
    r2, r3 = ring + line * ((first + 2) % slots), ring + line * ((first + 3) % slots)
    if taps <= 2:
        blend.rows2(r0, r1, r2, r3, weights, out, n)
    elif taps == 3:
        blend.rows3(r0, r1, r2, r3, weights, out, n)
    else:
        blend.rows4(r0, r1, r2, r3, weights, out, n)
    for k in range(4, taps):
        blend.add_row(ring + line * ((first + k) % slots), 0, 0, 0, weights + 4 * k, out, n)


@njit(inline="always")
def _blend_columns(acc, across, taps, shared, size, row):
    """One row by the widest path that fits; a constant number of taps lets the compiler unroll their loop."""
    columns, weights, begin, places, spread, groups = across
    if shared == 2:
        blend.columns2(acc, begin, places, spread, 1, groups, row)
    elif shared == 3:
        blend.columns3(acc, begin, places, spread, 1, groups, row)
    elif shared == 4:
        blend.columns4(acc, begin, places, spread, 1, groups, row)
    elif shared == 1:
        blend.columns1(acc, begin, places, spread, taps, groups, row)
    elif taps == 2:
        blend.quads(acc, columns, weights, 2, size, row)  # pyright: ignore
    elif taps == 3:
        blend.quads(acc, columns, weights, 3, size, row)  # pyright: ignore
    elif taps == 4:
        blend.quads(acc, columns, weights, 4, size, row)  # pyright: ignore
    else:
        blend.quads(acc, columns, weights, taps, size, row)  # pyright: ignore


@njit(**_OPTIONS)
def resized_crops(image, width, boxes, sizes, places, out):
    """Crop all views of one image: boxes [V, CROP_FIELDS], sizes [V], places [V]: where each view begins in the flat
    `out`."""
    for v in range(len(sizes)):
        resized_crop(image, width, boxes[v], sizes[v], out[places[v] : places[v] + 3 * sizes[v] * sizes[v]])


@njit(**_OPTIONS)
def resized_crops_of_all(images, first, widths, boxes, sizes, places, out):
    """`resized_crops` of N images that lie in the flat `images`, from the bytes first [N] on, `widths` [N] px wide:
    boxes [N, V, CROP_FIELDS], places [N, V]."""
    for i in range(len(first)):
        resized_crops(images[first[i] :], widths[i], boxes[i], sizes, places[i], out)


def warm_up() -> None:
    """Compile the kernel or load it from numba's cache; print a line if it takes over two seconds, once per machine."""
    word = threading.Timer(2.0, lambda: print("compiling the resize kernel, once on this machine ...", file=sys.stderr))
    word.start()
    image, boxes = np.zeros(12, np.uint8), np.array([[0, 0, 2, 2, 1, 1, 0, 0, 0, 0]], np.int32)
    one, zero, out = np.array([1]), np.array([0]), np.empty(3, np.uint8)
    resized_crops(image, 2, boxes, one, zero, out)
    resized_crops_of_all(image, zero, np.array([2], np.int32), boxes[None], one, zero[None], out)
    word.cancel()
    word.join()
