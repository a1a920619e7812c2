"""The resized crop: a box of a decoded image, resized with PIL's antialiased filters, in numba without the GIL.

Crop first, then resize, so pixels outside the box have no effect (torchvision's RandomResizedCrop on PIL images). All
numbers are whole, so pixels do not depend on the machine, and a mirrored crop is an exact mirror. Three forms:

* bilinear, in 16 bits: levels times 64, weights that sum to 32,767, products rounded one by one. Within 1 level of PIL,
  0.16 on average, since PIL rounds between its two passes and this does not; the vertical pass comes first.
* bilinear of more than 16 source pixels in one direction, where those errors could add up to a level: as above with
  exact products in 32 bits.
* bicubic, in 32 bits: PIL's order of passes with PIL's rounding between them, since a cubic overshoots and the place
  where it is clipped matters (up to 14 levels); 16 bits would miss PIL by 2 levels in some pixels. Within 1 level.
"""

import numpy as np

from ...shards.kernels import njit
from . import vectors
from .columns import columns
from .weights import OPTIONS, aligned, apart, count_taps, tables_of, taps_of

CHANNELS = 3
SHORT = 16  # taps that 16 bits hold: each product is off by half a 64th of a level at most
SLACK = 64  # values after a row that whole vectors may touch
_FIRST = np.zeros(1, np.int64)  # where the first of one begins


@njit(**OPTIONS)
def crops(images, first, widths, boxes, sizes, places, picks, out):
    """`resized_crops_of_all`, on the path for CPUs with or without `picks`. The only kernel that Python calls, since
    LLVM would compile all of it again for each further one."""
    for i in range(len(first)):
        for v in range(len(sizes)):
            made = out[places[i, v] : places[i, v] + CHANNELS * sizes[v] * sizes[v]]
            _crop(images[first[i] :], np.int64(widths[i]), boxes[i, v], sizes[v], picks, made)


@njit(inline="always")
def _crop(image, width, box, size, picks, out):
    top, left, height, wide = np.int64(box[0]), np.int64(box[1]), np.int64(box[2]), np.int64(box[3])
    total_y, total_x, first_y, first_x = np.int64(box[4]), np.int64(box[5]), np.int64(box[6]), np.int64(box[7])
    mirrored, turned, cubic = box[8] != 0, box[8] < 0, box[9] != 0  # no constants: numba would compile for each
    short = not cubic and max(count_taps(height, total_y, cubic), count_taps(wide, total_x, cubic)) <= SHORT
    full_y, full_x = (32767, 32767) if short else (1 << 22, 1 << 22 if cubic else 1 << 16)
    down = taps_of(height, total_y, first_y, turned, cubic, full_y, size)
    begin, weights = taps_of(wide, total_x, first_x, mirrored, cubic, full_x, size)
    lead = min(begin[0], begin[size - 1])
    n = (max(begin[0], begin[size - 1]) + len(weights) - lead) * CHANNELS  # source values of a row
    begin -= lead
    source = image[(top * width + left + lead) * CHANNELS :]
    if short:
        across = tables_of(begin, weights, wide, total_x, CHANNELS, 32 if picks else 0, np.int16)
        _columns_last(source, width * CHANNELS, n, down, across, 6, aligned(n + SLACK, np.int16), out)
    else:
        across = tables_of(begin, weights, wide, total_x, CHANNELS, 16 if picks else 0, np.int32)
        acc = aligned(n + SLACK, np.int32)
        if cubic:
            _rows_last(source, width * CHANNELS, n, down, across, acc, out)
        else:
            _columns_last(source, width * CHANNELS, n, down, across, 22, acc, out)


@njit(**OPTIONS)
def _columns_last(source, line, n, down, across, lift, acc, out):
    """The bilinear crop: source rows make one row `acc`, and its values an output row."""
    apart()  # pyright: ignore
    (begin, weights), size = down, len(down[0])
    wide = size * CHANNELS
    row = aligned(wide + SLACK, acc.dtype)
    for y in range(size):
        vectors.rows(source, begin[y] * line, line, weights, y, acc, 0, n)  # pyright: ignore
        if lift == 22:
            for i in range(n):
                acc[i] = (acc[i] + (1 << 15)) >> 16
        columns(acc, 0, across, CHANNELS, row, 0)  # pyright: ignore
        vectors.narrow(row, 0, out, y * wide, wide, lift)  # pyright: ignore


@njit(**OPTIONS)
def _rows_last(source, line, n, down, across, acc, out):
    """The bicubic crop: all source rows are resized and rounded, then output rows are blended from those."""
    apart()  # pyright: ignore
    (begin, weights), size = down, len(down[0])
    wide, row = size * CHANNELS, aligned(size * CHANNELS + SLACK, acc.dtype)
    middle = np.empty((begin[size - 1] + len(weights) - begin[0]) * wide, np.uint8)
    for y in range(begin[0], begin[size - 1] + len(weights)):
        levels = source[y * line : y * line + n]
        for i in range(n):
            acc[i] = levels[i]
        columns(acc, 0, across, CHANNELS, row, 0)  # pyright: ignore
        vectors.narrow(row, 0, middle, (y - begin[0]) * wide, wide, 22)  # pyright: ignore
    for y in range(size):
        vectors.rows(middle, (begin[y] - begin[0]) * wide, wide, weights, y, row, 0, wide)  # pyright: ignore
        vectors.narrow(row, 0, out, y * wide, wide, 22)  # pyright: ignore


def resized_crop(image, width, box, size, out) -> None:
    """Crop a flat RGB image (rows of `width` px) into out [3 * size * size]; `box` [CROP_FIELDS] int32, see
    augment.crops."""
    resized_crops(image, width, box[None], np.array([size]), _FIRST, out)


def resized_crops(image, width, boxes, sizes, places, out) -> None:
    """Crop all views of one image: boxes [V, CROP_FIELDS], sizes [V], places [V]: where each view begins in the flat
    `out`."""
    resized_crops_of_all(image, _FIRST, np.array([width], np.int32), boxes[None], sizes, places[None], out)


def resized_crops_of_all(images, first, widths, boxes, sizes, places, out) -> None:
    """`resized_crops` of N images that lie in the flat `images`, from the bytes first [N] on, `widths` [N] px wide:
    boxes [N, V, CROP_FIELDS], places [N, V]."""
    crops(images, first, widths, boxes, sizes, places, vectors.cpu_has_picks(), out)


def warm_up() -> None:
    """Call what Python calls, with arrays of the types that it passes."""
    box = np.array([0, 0, 2, 2, 1, 1, 0, 0, 0, 0], np.int32)
    resized_crop(np.zeros(12, np.uint8), 2, box, 1, np.empty(3, np.uint8))
