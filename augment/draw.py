"""All the randomness of augmentation: numbers hashed from (seed, epoch, view, uid, op), never taken from a stream.

An image therefore gets the same crop and the same jitter whichever loader, rank, worker or renderer asks, and a
resumed run draws what the lost one drew. Each kind of op has a lane of its own, so changing one op leaves the others'
draws alone. The hash is frozen by a golden vector in the tests: old runs stay reproducible.
"""

from functools import reduce

import numpy as np

from ..shards.keyed import STEP, mix
from .spec import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HideAndSeek,
    HorizontalFlip,
    Normalize,
    Op,
    RandomResizedCrop,
    ResizeCenterCrop,
    Solarize,
    View,
    size_of,
)

Draw = dict[str, np.ndarray]  # one row per sample
Draws = tuple[Draw, ...]  # one Draw per op of the view

CROP_TRIES = 10  # torchvision's
LANES: dict[type[Op], tuple[int, int]] = {  # op -> (lane, uniforms every row takes)
    RandomResizedCrop: (1, 2 * CROP_TRIES + 2),  # areas, ratios, place
    HorizontalFlip: (2, 1),
    ColorJitter: (3, 1 + 4 + 4),  # on?, factors and hue, order
    Grayscale: (4, 1),
    GaussianBlur: (5, 2),
    Solarize: (6, 1),
    HideAndSeek: (7, 1),  # the grid; and one a cell
}


def hashed(*words: int | np.ndarray) -> np.ndarray:
    """Words, integers or broadcastable integer arrays, folded left to right into uint64 hashes."""
    return np.atleast_1d(reduce(fold, words, np.zeros((), np.uint64)))


def fold(key: np.ndarray, word: int | np.ndarray) -> np.ndarray:
    """A hash and the next word -> a hash."""
    number = word.astype(np.uint64) if isinstance(word, np.ndarray) else np.uint64(word & 0xFFFFFFFFFFFFFFFF)
    with np.errstate(over="ignore"):
        return mix(key + STEP * (number + np.uint64(1)))


def uniforms(keys: np.ndarray) -> np.ndarray:
    """Hashes -> float64 in [0, 1)."""
    return (keys >> np.uint64(11)) * 2.0**-53


def draw(view: View, uid: np.ndarray, hw: np.ndarray, *, seed: int, epoch: int, number: int) -> Draws:
    """The parameters of view `number` for images `uid` [N] uint64 of sizes `hw` [N, 2] px; a pure function.

    Box = (top, left, height, width) px, `on` = whether the op applies, factors without unit, hue in turns, sigma in px.
    """
    rows = hashed(hashed(seed, epoch, number, uid))[:, None]  # [N, 1]
    return tuple(_draw(op, rows, hw, view) for op in view)


def _draw(op: Op, rows: np.ndarray, hw: np.ndarray, view: View) -> Draw:
    if isinstance(op, Normalize | ResizeCenterCrop):
        return {}
    lane, count = LANES[type(op)]
    rows = fold(rows, lane)
    u = _uniforms(rows, np.arange(count))
    match op:
        case RandomResizedCrop():
            return {"box": _boxes(op, u, hw)}
        case HorizontalFlip() | Grayscale() | Solarize():
            return {"on": u[:, 0] < op.p}
        case GaussianBlur():
            low, high = op.sigma
            return {"on": u[:, 0] < op.p, "sigma": low + (high - low) * u[:, 1]}
        case HideAndSeek():
            grid = np.array(op.grids)[(u[:, 0] * len(op.grids)).astype(np.int64)]
            return {"grid": grid, "keep": _kept(op, rows, grid, size_of(view))}
        case ColorJitter():
            spread = np.array([op.brightness, op.contrast, op.saturation])
            low = np.maximum(0.0, 1 - spread)
            return {
                "on": u[:, 0] < op.p,
                "factor": low + (1 + spread - low) * u[:, 1:4],  # [N, 3] brightness, contrast, saturation
                "hue": op.hue * (2 * u[:, 4] - 1),
                "order": np.argsort(u[:, 5:9], axis=1).astype(np.int8),  # [N, 4] which op at each turn; 3 = hue
            }


def _uniforms(rows: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Numbers `which` of every row's lane: [N, len(which)]."""
    return uniforms(fold(rows, which))


def most_cells(op: HideAndSeek, size: int) -> int:
    """Cells of the finest grid over a view of `size` px."""
    return max(_cells(grid, size) for grid in op.grids if grid)


def _cells(grid: int, size: int) -> int:
    return (-(-size // grid)) ** 2


def _kept(op: HideAndSeek, rows: np.ndarray, grid: np.ndarray, size: int) -> np.ndarray:
    """[N, most cells] row by row of the grid drawn; cells that this grid has not are kept."""
    keep = np.ones((len(grid), most_cells(op, size)), bool)
    for side in {*op.grids} - {0}:
        which, cells = (grid == side).nonzero()[0], _cells(side, size)
        keep[which, :cells] = _uniforms(rows[which], np.arange(1, cells + 1)) >= op.hide
    return keep


def _boxes(op: RandomResizedCrop, u: np.ndarray, hw: np.ndarray) -> np.ndarray:
    """torchvision's RandomResizedCrop, ten tries at once: the first that fits wins, else the center. [N, 4] int32"""
    h, w = hw[:, :1].astype(np.float64), hw[:, 1:].astype(np.float64)
    area = h * w * (op.area[0] + (op.area[1] - op.area[0]) * u[:, :CROP_TRIES])
    low, high = np.log(op.ratio)
    ratio = np.exp(low + (high - low) * u[:, CROP_TRIES : 2 * CROP_TRIES])
    ch, cw = np.rint(np.sqrt(area / ratio)), np.rint(np.sqrt(area * ratio))  # [N, tries]
    fits = (ch > 0) & (ch <= h) & (cw > 0) & (cw <= w)
    first, none = fits.argmax(axis=1)[:, None], ~fits.any(axis=1, keepdims=True)
    ch = np.where(none, np.clip(np.rint(w / op.ratio[0]), 1, h), np.take_along_axis(ch, first, 1))  # [N, 1]
    cw = np.where(none, np.clip(np.rint(h * op.ratio[1]), 1, w), np.take_along_axis(cw, first, 1))
    top = np.where(none, (h - ch) // 2, np.floor(u[:, -2:-1] * (h - ch + 1)))
    left = np.where(none, (w - cw) // 2, np.floor(u[:, -1:] * (w - cw + 1)))
    return np.concatenate([top, left, ch, cw], axis=1).astype(np.int32)
