"""Pairs of crops with a given overlap, as ssl-small draws them (spec small_sts A.7).

    nointer                   each crop inside another quarter of the image, so they never overlap
    easy, hard, super-hard    the IoU is within limits (large, small, tiny), and neither crop contains the other

Try t of view v is the draw of view number 2 t + v, so a pair is a pure function of (seed, epoch, uid, height, width),
and try 0 gives the crops of ordinary views. When all tries fail, the last one is used, as in the release.
"""

from typing import NamedTuple

import numpy as np

from ..shards.keyed import Purpose
from .draw import draw, fold, hashed, uniforms
from .spec import RandomResizedCrop

QUARTER = (0.4, 1.0)  # area of a nointer crop, as a fraction of its quarter
GRAY = (124, 116, 104)  # the mean color, RGB
VARIANTS = 10  # images per pair: two views, and each view with four kinds of patch


class Limits(NamedTuple):
    """The IoU that a pair may have, and the number of draws before the last one is used."""

    low: float
    high: float
    tries: int


OVERLAPS = {"easy": Limits(0.25, 1.0, 1000), "hard": Limits(0.05, 0.25, 1000), "super-hard": Limits(1e-4, 0.05, 2000)}
MODES = ("nointer", *OVERLAPS)


def boxes(mode: str, crop: RandomResizedCrop, uid: np.ndarray, hw: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """[N, 2, 4] int32: the boxes (top, left, height, width) px of two views of images `uid` [N], sizes `hw` [N, 2]."""
    if mode == "nointer":
        return _quarters(crop, uid, hw, seed, epoch)
    limits = OVERLAPS[mode]
    out, left = np.zeros((len(uid), 2, 4), np.int32), np.arange(len(uid))
    for turn in range(limits.tries):
        out[left] = _drawn(crop, uid[left], hw[left], seed, epoch, turn)
        left = left[~fits(out[left], limits)]
        if not len(left):
            break
    return out


def fits(pair: np.ndarray, limits: Limits) -> np.ndarray:
    """[N] bool: whether the IoU of two boxes [N, 2, 4] is within the limits and neither box contains the other."""
    areas = pair[..., 2].astype(np.int64) * pair[..., 3]  # [N, 2]
    common = overlap(pair)
    shared = common[:, 2].astype(np.int64) * common[:, 3]
    iou = shared / (areas.sum(axis=1) - shared)
    return (limits.low <= iou) & (iou <= limits.high) & (shared[:, None] < areas).all(axis=1)


def overlap(pair: np.ndarray) -> np.ndarray:
    """[N, 4]: the intersection of two boxes [N, 2, 4]; its height and width are 0 where they do not intersect."""
    begin = pair[..., :2].max(axis=1)
    size = np.maximum((pair[..., :2] + pair[..., 2:]).min(axis=1) - begin, 0)
    return np.concatenate([begin, size * (size > 0).all(axis=1, keepdims=True)], axis=1)


def variants(
    views: np.ndarray, pair: np.ndarray, flipped: np.ndarray, uid: int, *, seed: int, epoch: int
) -> np.ndarray:
    """Two views of one image [2, S, S, 3] uint8, not mirrored yet -> [10, S, S, 3], in the order of the release's files
    -1 to -10: the views; noise over their intersection; a patch of noise of that size at a random place; the mean color
    over their intersection; a patch of the mean color at a random place. `pair` [2, 4] holds the boxes; `flipped` [2]
    says which views to mirror."""
    size = views.shape[1]
    out = np.tile(views, (VARIANTS // 2, 1, 1, 1))  # views 0, 1, 0, 1, ...
    for view in range(2):
        box = _in_view(overlap(pair[None])[0], pair[view], size)
        key = hashed(seed, epoch, Purpose.PATCH, uid, view)
        u = uniforms(fold(key, np.arange(2)))
        place = np.array([*np.floor(u * (size - box[2:] + 1)).astype(int), *box[2:]])
        for which, (top, left, height, width) in ((2, box), (4, place), (6, box), (8, place)):
            patch = out[which + view, top : top + height, left : left + width]
            patch[:] = _noise(fold(key, which), patch.shape) if which < 6 else GRAY
        if flipped[view]:
            out[view::2] = out[view::2, :, ::-1].copy()
    return out


def _noise(key: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """White noise of `shape`, uint8: independent levels, uniform in 0..255."""
    numbers = fold(key, np.arange(np.prod(shape)))
    return (numbers >> np.uint64(56)).astype(np.uint8).reshape(shape)


def _in_view(box: np.ndarray, view: np.ndarray, size: int) -> np.ndarray:
    """`box`, in px of the image -> px of a view that shows the box `view` at `size` px; at least 1 px if not empty."""
    if not box[2:].any():
        return np.zeros(4, np.int64)
    scale = size / view[2:]
    begin = np.floor((box[:2] - view[:2]) * scale).astype(np.int64).clip(0, size - 1)
    end = np.ceil((box[:2] + box[2:] - view[:2]) * scale).astype(np.int64).clip(1, size)
    return np.concatenate([begin, end - begin])


def _drawn(crop: RandomResizedCrop, uid: np.ndarray, hw: np.ndarray, seed: int, epoch: int, turn: int) -> np.ndarray:
    """[N, 2, 4]: the boxes of both views at try `turn`."""
    both = [draw((crop,), uid, hw, seed=seed, epoch=epoch, number=2 * turn + view)[0]["box"] for view in range(2)]
    return np.stack(both, axis=1)


def _quarters(crop: RandomResizedCrop, uid: np.ndarray, hw: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """[N, 2, 4]: the second crop takes one of the three corners that the first did not."""
    half = np.maximum(hw // 2, 1)
    u = uniforms(fold(hashed(seed, epoch, Purpose.CORNERS, uid)[:, None], np.arange(2)))  # [N, 2]
    first = np.floor(4 * u[:, 0]).astype(np.int64)
    corner = np.stack([first, (first + 1 + np.floor(3 * u[:, 1]).astype(np.int64)) % 4], axis=1)  # [N, 2]
    out = _drawn(RandomResizedCrop(crop.size, QUARTER, crop.ratio, crop.filter), uid, half, seed, epoch, 0)
    out[..., :2] += np.stack([corner // 2, corner % 2], axis=-1) * (hw - half)[:, None]
    return out
