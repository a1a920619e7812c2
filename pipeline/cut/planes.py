"""The resized crop of an image with halved colors, from the planes that its JPEG stores.

libjpeg interpolates colors to full size before anything else ("fancy upsampling"); here that is part of the weights.
Brightness and colors are cropped alike, by the arithmetic of resize.py, and converted to RGB in the view, which has
fewer pixels than the image. Only then values are clipped to 0..255, where libjpeg clips each pixel of the image: at the
edges of colors that RGB cannot hold, pixels differ by up to 40 levels, elsewhere by rounding.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ...augment.crops import BICUBIC
from ...shards.kernels import njit
from . import vectors
from .columns import columns
from .resize import SHORT, SLACK
from .weights import OPTIONS, aligned, apart, tables_of, taps_of

FULL = 32767  # the sum of the weights of a value
MOST = SHORT // 2  # times that a crop may shrink its box
MIDDLE = 128 << 6  # the color of gray
_FIRST = np.zeros(1, np.int64)  # where the first of one begins


def can_crop(boxes: np.ndarray) -> np.ndarray:
    """[N]: whether all `boxes` [N, V, CROP_FIELDS] of an image are bilinear and shrink no more than MOST times."""
    small = (boxes[..., 2:4] <= MOST * boxes[..., 4:6]).all(axis=2)
    return (small & (boxes[..., BICUBIC] == 0)).all(axis=1)


@njit(**OPTIONS)
def halved(begin, weights, limit):
    """What `taps_of` gives, for values at half the size, `limit` of them, that are interpolated first: value x is 3/4
    of value x // 2 and 1/4 of its neighbor on the side of x, or of itself at the end."""
    (taps, n), used = weights.shape, min(len(weights) // 2 + 2, limit)
    around, folded = np.zeros((taps + 7, n), np.int32), np.empty((taps // 2 + 2, n), np.int32)
    for k in range(taps):
        for i in range(n):
            around[k + 3, i] = weights[k, i]
    first, total, upto = np.empty(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.int32)
    for i in range(n):
        first[i] = (begin[i] - 1) >> 1
    for k in range(len(folded)):
        a, b, c, d, e = around[2 * k], around[2 * k + 1], around[2 * k + 2], around[2 * k + 3], around[2 * k + 4]
        for i in range(n):
            odd = b[i] + 3 * (c[i] + d[i]) + e[i]
            even = a[i] + 3 * (b[i] + c[i]) + d[i]
            total[i] += odd if begin[i] & 1 else even
            rounded = (total[i] + 2) >> 2
            folded[k, i] = rounded - upto[i]
            upto[i] = rounded
    for i in range(n):
        inside = min(max(first[i], 0), limit - used)
        if first[i] < inside or first[i] + len(folded) > limit:
            wanted = folded[:, i].copy()
            for k in range(len(wanted)):
                folded[k, i] = 0
            for k in range(len(wanted)):
                folded[min(max(first[i] + k, 0), limit - 1) - inside, i] += wanted[k]
            first[i] = inside
    return first, folded[:used]


@njit(**OPTIONS)
def crops(data, first, heights, widths, boxes, sizes, places, picks, out):
    """`crops_of_all_planes`, on the path for CPUs with or without `picks`."""
    for i in range(len(first)):
        height, width = np.int64(heights[i]), np.int64(widths[i])
        for v in range(len(sizes)):
            made = out[places[i, v] : places[i, v] + 3 * sizes[v] * sizes[v]]
            _crop(data[first[i] :], height, width, boxes[i, v], sizes[v], picks, made)


@njit(inline="always")
def _crop(data, height, width, box, size, picks, out):
    top, left, tall, wide = np.int64(box[0]), np.int64(box[1]), np.int64(box[2]), np.int64(box[3])
    total_y, total_x, first_y, first_x = np.int64(box[4]), np.int64(box[5]), np.int64(box[6]), np.int64(box[7])
    mirrored, turned, cubic = box[8] != 0, box[8] < 0, box[9] != 0  # no constants: numba would compile for each
    high, pitch = height + height % 2, width + width % 2
    down = taps_of(tall, total_y, first_y, turned, cubic, FULL, size)
    across = taps_of(wide, total_x, first_x, mirrored, cubic, FULL, size)
    for i in range(size):
        down[0][i] += top
        across[0][i] += left
    made = np.empty((3, size * size + SLACK), np.int16)
    _resize(data, high * pitch, pitch, down, across, wide, total_x, picks, made[:1])
    down, across = halved(down[0], down[1], high // 2), halved(across[0], across[1], pitch // 2)
    _resize(data[high * pitch :], high * pitch // 4, pitch // 2, down, across, wide, 2 * total_x, picks, made[1:])
    _to_rgb(made, out)


@njit(**OPTIONS)
def _resize(data, area, width, down, across, wide, total, picks, out):
    """Resize a box of P planes of `area` values, in rows of `width`, one after the other: to rows in out [P, ...]."""
    apart()  # pyright: ignore
    (begin, weights), (begin_x, weights_x), size = down, across, len(across[0])
    lead = min(begin_x[0], begin_x[size - 1])
    n = max(begin_x[0], begin_x[size - 1]) + len(weights_x) - lead  # values of a row that the output needs
    tables = tables_of(begin_x - lead, weights_x, wide, total, 1, 32 if picks else 0, np.int16)
    acc = aligned(n + SLACK, np.int16)
    for p in range(len(out)):
        for y in range(size):
            vectors.rows(data, p * area + begin[y] * width + lead, width, weights, y, acc, 0, n)  # pyright: ignore
            columns(acc, 0, tables, 1, out[p], y * size)  # pyright: ignore


@intrinsic
def _high(typingctx, value, factor):
    """value * factor >> 16 of 16 bits, which is one instruction of vectors."""

    def codegen(context, b, sig, args):
        whole = ir.IntType(32)
        product = b.mul(*(b.sext(x, whole) for x in args))
        return b.trunc(b.ashr(product, ir.Constant(whole, 16)), ir.IntType(16))

    return types.int16(types.int16, types.int16), codegen


@njit(inline="always")
def _level(value):
    return np.uint8(min(max(np.int16(value >> np.int16(6)), np.int16(0)), np.int16(255)))


@njit(**OPTIONS)
def _to_rgb(planes, out):
    """RGB in the flat `out`, by the formulas of JFIF, from rows of brightness and colors in `planes` [3, ...]."""
    light, blue, red = planes[0], planes[1], planes[2]
    for i in range(len(out) // 3):
        y, b, r = np.int16(light[i] + 32), np.int16(blue[i] - MIDDLE), np.int16(red[i] - MIDDLE)
        out[3 * i] = _level(np.int16(y + r + _high(r, 26345)))  # pyright: ignore  # 1.402 in 65,536ths
        out[3 * i + 1] = _level(np.int16(y - r - _high(b, 22554) + _high(r, 18734)))  # 0.344136, 1 - 0.714136
        out[3 * i + 2] = _level(np.int16(y + 2 * b - _high(b, 14942)))  # 2 - 1.772


def crop_of_planes(data, height, width, box, size, out) -> None:
    """Crop an image of `height` x `width` px, whose planes follow each other in the flat `data`, into out
    [3 * size * size]; `box` [CROP_FIELDS] int32 as of `resized_crop`, one that `can_crop` accepts."""
    crops_of_planes(data, height, width, box[None], np.array([size]), np.array([0]), out)


def crops_of_planes(data, height, width, boxes, sizes, places, out) -> None:
    """Crop all views of one image: as `resized_crops`, from planes."""
    high, wide = np.array([height], np.int32), np.array([width], np.int32)
    crops_of_all_planes(data, _FIRST, high, wide, boxes[None], sizes, places[None], out)


def crops_of_all_planes(data, first, heights, widths, boxes, sizes, places, out) -> None:
    """`crops_of_planes` of N images: as `resized_crops_of_all`, with heights [N]."""
    crops(data, first, heights, widths, boxes, sizes, places, vectors.cpu_has_picks(), out)


def warm_up() -> None:
    """Call what Python calls, with arrays of the types that it passes."""
    box = np.array([0, 0, 1, 1, 1, 1, 0, 0, 0, 0], np.int32)
    crop_of_planes(np.zeros(6, np.uint8), 1, 1, box, 1, np.empty(3, np.uint8))
