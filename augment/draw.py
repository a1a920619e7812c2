"""The random parameters of every op: hashes of (seed, epoch, view, uid, occurrence, op), without any generator state.

An image gets the same crop and the same jitter from every loader, rank, worker and renderer, and a resumed run repeats
the draws of the run that stopped. An image that an epoch shows again gets other draws: `occurrence` counts from 0, and
0 adds nothing to the hash. Each kind of op has its own lane (one word of the hash), so changing one op does not
change the draws of another. A golden vector in the tests freezes the hash: old runs stay reproducible.
"""

from functools import reduce

import numpy as np

from ..shards.keyed import STEP, Purpose, mix
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
    Views,
    built_in_ops,
    size_of,
)

Draw = dict[str, np.ndarray]  # one row per sample
Draws = tuple[Draw, ...]  # one Draw per built-in op of the view

CROP_TRIES = 10  # as in torchvision
LANES: dict[type[Op], tuple[int, int]] = {  # op -> (lane, number of uniforms per row)
    RandomResizedCrop: (1, 2 * CROP_TRIES + 2),  # areas, ratios, top and left
    HorizontalFlip: (2, 1),
    ColorJitter: (3, 1 + 4 + 4),  # on?, factors and hue, order
    Grayscale: (4, 1),
    GaussianBlur: (5, 2),
    Solarize: (6, 1),
    HideAndSeek: (7, 1),  # the grid; the cells take one more each
}
USER_LANE = 8  # for all ops of the user's own


def hashed(*words: int | np.ndarray) -> np.ndarray:
    """uint64 hashes of words: integers or integer arrays that broadcast, folded from left to right."""
    return np.atleast_1d(reduce(fold, words, np.zeros((), np.uint64)))


def fold(key: np.ndarray, word: int | np.ndarray) -> np.ndarray:
    """uint64 hashes of (`key`, `word`): the next step of `hashed`."""
    number = word.astype(np.uint64) if isinstance(word, np.ndarray) else np.uint64(word & 0xFFFFFFFFFFFFFFFF)
    with np.errstate(over="ignore"):
        return mix(key + STEP * (number + np.uint64(1)))


def uniforms(keys: np.ndarray) -> np.ndarray:
    """Hashes -> float64 in [0, 1)."""
    return (keys >> np.uint64(11)) * 2.0**-53


def draw(
    view: View,
    uid: np.ndarray,
    hw: np.ndarray,
    *,
    seed: int,
    epoch: int,
    number: int,
    occurrence: int | np.ndarray = 0,
) -> Draws:
    """One Draw per built-in op of view `number`, for images `uid` [N] uint64, sizes `hw` [N, 2] px; a pure function.

    `occurrence`, one number or [N]: distinguishes the showings of an image in one epoch.

    `box`: top, left, height, width in px; `on`: whether the op applies; `factor`: no unit; `hue` in turns; `sigma` in
    px; `grid` in px; `keep`: whether a cell stays visible.
    """
    rows = _image_keys(uid, seed, epoch, number, occurrence)[:, None]  # [N, 1]
    return tuple(_draw(op, rows, hw, view) for op in built_in_ops(view))


def user_keys(uid: np.ndarray, *, seed: int, epoch: int, number: int, occurrence: int | np.ndarray = 0) -> np.ndarray:
    """[N] int64: the keys of the user's ops in view `number` of images `uid` [N] uint64, for `apply_user_ops`."""
    return fold(_image_keys(uid, seed, epoch, number, occurrence), USER_LANE).view(np.int64)


def fixed(views: Views) -> bool:
    """Whether nothing is drawn for these views; an op of the user's own may draw."""
    return all(isinstance(op, Normalize | ResizeCenterCrop) for view in views for op in view)


def again(keys: np.ndarray, occurrence: int | np.ndarray) -> np.ndarray:
    """`keys` [N] as they are at occurrence 0, other keys at each later one."""
    return np.where(occurrence, fold(fold(keys, Purpose.OCCURRENCE), occurrence), keys)


def _image_keys(uid: np.ndarray, seed: int, epoch: int, number: int, occurrence: int | np.ndarray) -> np.ndarray:
    """[N] uint64: one hash per image shown, the first part of the hash of every lane."""
    return again(hashed(hashed(seed, epoch, number, uid)), occurrence)


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
                "order": np.argsort(u[:, 5:9], axis=1).astype(np.int8),  # [N, 4] the op at each turn; 3 = hue
            }


def _uniforms(rows: np.ndarray, which: np.ndarray) -> np.ndarray:
    """The numbers `which` of each row: [N, len(which)] float64 in [0, 1)."""
    return uniforms(fold(rows, which))


def max_cells(op: HideAndSeek, size: int) -> int:
    """The number of cells of the finest grid over a view of `size` px."""
    return max(_cells(grid, size) for grid in op.grids if grid)


def _cells(grid: int, size: int) -> int:
    return (-(-size // grid)) ** 2


def _kept(op: HideAndSeek, rows: np.ndarray, grid: np.ndarray, size: int) -> np.ndarray:
    """[N, max_cells] bool, the cells of each image's grid row by row; columns past its last cell are True."""
    keep = np.ones((len(grid), max_cells(op, size)), bool)
    for side in {*op.grids} - {0}:
        images, cells = (grid == side).nonzero()[0], _cells(side, size)
        keep[images, :cells] = _uniforms(rows[images], np.arange(1, cells + 1)) >= op.hide
    return keep


def _boxes(op: RandomResizedCrop, u: np.ndarray, hw: np.ndarray) -> np.ndarray:
    """[N, 4] int32 boxes by torchvision's RandomResizedCrop: the first of ten tries that fits, else the center."""
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
