"""The resized crop: a box of a decoded image, resized with PIL's antialiased filters, in numba without the GIL.

Crop first, then resize, so pixels outside the box have no effect (torchvision's RandomResizedCrop on PIL images).
Values are 16-bit integers, levels times 64; so pixels do not depend on the machine, and a mirrored crop is an exact
mirror. Bilinear: within 1 level of PIL, 0.16 on average, since PIL rounds between its two passes and this does not.
The vertical pass comes first, on whole rows. Bicubic: within 1 level; PIL's order of passes with PIL's rounding between
them, since a cubic overshoots and the place where it is clipped matters (up to 14 levels).
"""

import numpy as np

from ...shards.kernels import njit
from . import plain, vectors
from .plain import OPTIONS, narrow, widen
from .weights import count_taps, tables_of, taps_of

VERSION = 2  # of the pixels; 1 computed in floats
CHANNELS = 3
SHORT = 16  # taps that 16 bits hold: each product is off by half a 64th of a level at most
SLACK = 64  # values after a row that whole vectors may touch


@njit(**OPTIONS)
def resized_crop(image, width, box, size, out):
    """Crop a flat RGB image (rows of `width` px) into out [3 * size * size]; `box` [CROP_FIELDS] int32, see
    augment.crops."""
    crop(image, width, box, size, CHANNELS, vectors.available(), out)  # pyright: ignore


@njit(**OPTIONS)
def crop(image, width, box, size, channels, fast, out):
    """`resized_crop` of an image of up to four channels; `fast` takes the vectors of AVX-512, with the same result."""
    top, left, height, wide, total_y, total_x, first_y, first_x = box[:8]
    cubic = box[9] != 0
    short = not cubic and max(count_taps(height, total_y, False), count_taps(wide, total_x, False)) <= SHORT
    full = 32767 if short else 65536 if not cubic else 1 << 22
    down = taps_of(height, total_y, first_y, False, cubic, full, size)
    begin, weights = taps_of(wide, total_x, first_x, box[8] != 0, cubic, full, size)
    lead = min(begin[0], begin[size - 1])
    reach = max(begin[0], begin[size - 1]) + len(weights) - lead  # source px that the output needs
    begin -= lead
    source = image[((top * width + left + lead) * channels) :], width * channels, reach * channels
    pitch = max(reach, size) * channels + SLACK
    if short and fast:
        across = tables_of(begin, weights, wide, total_x, channels, 32, np.int16)
        _in_16_bits(source, down, across, channels, pitch, size, out)
        return
    across = tables_of(begin, weights, wide, total_x, channels, 16 if fast and not short else 0, np.int32)
    if cubic:
        _rows_last(source, down, across, channels, pitch, size, out)
    else:
        _columns_last(source, down, across, channels, short, pitch, size, out)


@njit(inline="always")
def _scratch(rows, pitch, kind):
    """`rows` rows of `pitch` values, from the start of a cache line: a vector that straddles two is read twice."""
    room = np.empty(rows * pitch + SLACK, kind)
    return room[(-room.ctypes.data & 63) // room.itemsize :]


@njit(**OPTIONS)
def _in_16_bits(source, down, across, channels, pitch, size, out):
    """The bilinear crop on vectors: a ring keeps the source rows that the next output row needs, each widened once."""
    (pixels, line, n), (begin, weights) = source, down
    taps, wide, ready = len(weights), size * channels, begin[0]
    ring, acc, row = _scratch(taps + 2, pitch, np.int16), taps * pitch, (taps + 1) * pitch
    for y in range(size):
        ready = max(ready, begin[y])
        while ready < begin[y] + taps:
            widen(pixels, ready * line, ring, ready % taps * pitch, n, 6)
            ready += 1
        vectors.rows(ring, pitch, begin[y], weights, y, ring, acc, n)  # pyright: ignore
        vectors.columns(ring, acc, across, channels, ring, row)  # pyright: ignore
        narrow(ring, row, out, y * wide, wide, 6)


@njit(**OPTIONS)
def _columns_last(source, down, across, channels, short, pitch, size, out):
    """The bilinear crop in 32 bits, `short` with the products of 16 bits."""
    (pixels, line, n), (begin, weights) = source, down
    taps, wide, ready, drop = len(weights), size * channels, begin[0], 15 if short else 0
    ring, acc, row = _scratch(taps + 2, pitch, np.int32), taps * pitch, (taps + 1) * pitch
    for y in range(size):
        ready = max(ready, begin[y])
        while ready < begin[y] + taps:
            widen(pixels, ready * line, ring, ready % taps * pitch, n, 6)
            ready += 1
        plain.rows(ring, pitch, begin[y], weights, y, drop, ring, acc, n)
        if not short:
            plain.settle(ring, acc, n, 16)
        _columns(ring, acc, across, channels, drop, row)
        narrow(ring, row, out, y * wide, wide, 6 if short else 22)


@njit(**OPTIONS)
def _rows_last(source, down, across, channels, pitch, size, out):
    """The bicubic crop: each source row is resized and rounded, then output rows are blended from those."""
    (pixels, line, n), (begin, weights) = source, down
    taps, wide, ready = len(weights), size * channels, begin[0]
    ring, acc, row = _scratch(taps + 2, pitch, np.int32), taps * pitch, (taps + 1) * pitch
    for y in range(size):
        ready, target = max(ready, begin[y]), out[y * wide : (y + 1) * wide]
        while ready < begin[y] + taps:
            widen(pixels, ready * line, ring, acc, n, 0)
            _columns(ring, acc, across, channels, 0, row)
            narrow(ring, row, target, 0, wide, 22)
            widen(target, 0, ring, ready % taps * pitch, wide, 0)
            ready += 1
        plain.rows(ring, pitch, begin[y], weights, y, 0, ring, row, wide)
        narrow(ring, row, target, 0, wide, 22)


@njit(inline="always")
def _columns(ring, acc, across, channels, drop, row):
    begin, spread, _, _, _, shared = across
    if shared:
        vectors.columns(ring, acc, across, channels, ring, row)  # pyright: ignore
    else:
        plain.columns(ring, acc, begin, spread, channels, drop, ring, row)


@njit(**OPTIONS)
def resized_crops(image, width, boxes, sizes, places, out):
    """Crop all views of one image: boxes [V, CROP_FIELDS], sizes [V], places [V]: where each view begins in the flat
    `out`."""
    for v in range(len(sizes)):
        resized_crop(image, width, boxes[v], sizes[v], out[places[v] : places[v] + 3 * sizes[v] * sizes[v]])


@njit(**OPTIONS)
def resized_crops_of_all(images, first, widths, boxes, sizes, places, out):
    """`resized_crops` of N images that lie in the flat `images`, from the bytes first [N] on, `widths` [N] px wide:
    boxes [N, V, CROP_FIELDS], places [N, V]."""
    for i in range(len(first)):
        resized_crops(images[first[i] :], widths[i], boxes[i], sizes, places[i], out)


def warm_up() -> None:
    """Call what Python calls, with arrays of the types that it passes."""
    image, boxes = np.zeros(12, np.uint8), np.array([[0, 0, 2, 2, 1, 1, 0, 0, 0, 0]], np.int32)
    one, zero, out = np.array([1]), np.array([0]), np.empty(3, np.uint8)
    resized_crops(image, 2, boxes, one, zero, out)
    resized_crops_of_all(image, zero, np.array([2], np.int32), boxes[None], one, zero[None], out)
