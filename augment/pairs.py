"""Two crops drawn together: ssl-small's pairs that never, hardly or largely overlap (spec small_sts A.7).

    nointer      each in a quarter of the image of its own, at two different corners
    easy, hard, super-hard      overlap (IoU) within limits, neither inside the other

Try t of view v is the draw of view number 2 t + v, so a pair is a pure function of (seed, epoch, uid, height, width),
and try 0 is what ordinary views would show. When the tries run out the last one stands, as in the release.
"""

from typing import NamedTuple

import numpy as np

from ..shards.keyed import Purpose
from .draw import draw, fold, hashed, uniforms
from .spec import RandomResizedCrop

QUARTER = (0.4, 1.0)  # area of a nointer crop, of its quarter
GREY = (124, 116, 104)  # the mean color
VARIANTS = 10  # images of a pair: two views, and each with a patch in four ways


class Limits(NamedTuple):
    """What overlap a pair may have, and how often it is drawn anew."""

    low: float
    high: float
    tries: int


OVERLAPS = {"easy": Limits(0.25, 1.0, 1000), "hard": Limits(0.05, 0.25, 1000), "super-hard": Limits(1e-4, 0.05, 2000)}
MODES = ("nointer", *OVERLAPS)


def boxes(mode: str, crop: RandomResizedCrop, uid: np.ndarray, hw: np.ndarray, *, seed: int, epoch: int) -> np.ndarray:
    """Boxes (top, left, height, width) px of both views of images `uid` [N] of sizes `hw` [N, 2]: [N, 2, 4] int32."""
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
    """Whether pairs of boxes [N, 2, 4] keep the limits and neither box holds the other: [N] bool."""
    areas = pair[..., 2].astype(np.int64) * pair[..., 3]  # [N, 2]
    common = overlap(pair)
    shared = common[:, 2].astype(np.int64) * common[:, 3]
    iou = shared / (areas.sum(axis=1) - shared)
    return (limits.low <= iou) & (iou <= limits.high) & (shared[:, None] < areas).all(axis=1)


def overlap(pair: np.ndarray) -> np.ndarray:
    """The box that both of [N, 2, 4] share, [N, 4]; of height and width 0 where there is none."""
    begin = pair[..., :2].max(axis=1)
    size = np.maximum((pair[..., :2] + pair[..., 2:]).min(axis=1) - begin, 0)
    return np.concatenate([begin, size * (size > 0).all(axis=1, keepdims=True)], axis=1)


def variants(
    views: np.ndarray, pair: np.ndarray, flipped: np.ndarray, uid: int, *, seed: int, epoch: int
) -> np.ndarray:
    """One image's two views [2, S, S, 3] uint8, not mirrored yet -> [10, S, S, 3], in the order of the release's
    files -1 to -10: the views; noise over what they share; as large a patch of noise anywhere; the mean color over
    what they share; as large a patch of it anywhere. `pair` [2, 4] are the boxes; `flipped` [2] views are mirrored."""
    size = views.shape[1]
    out = np.tile(views, (VARIANTS // 2, 1, 1, 1))  # views 0, 1, 0, 1, ...
    for view in range(2):
        box = _in_view(overlap(pair[None])[0], pair[view], size)
        key = hashed(seed, epoch, Purpose.PATCH, uid, view)
        u = uniforms(fold(key, np.arange(2)))
        place = np.array([*np.floor(u * (size - box[2:] + 1)).astype(int), *box[2:]])
        for which, (top, left, height, width) in ((2, box), (4, place), (6, box), (8, place)):
            patch = out[which + view, top : top + height, left : left + width]
            patch[:] = _noise(fold(key, which), patch.shape) if which < 6 else GREY
        if flipped[view]:
            out[view::2] = out[view::2, :, ::-1].copy()
    return out


def _noise(key: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """White noise: independent levels, uniform in 0..255."""
    numbers = fold(key, np.arange(np.prod(shape)))
    return (numbers >> np.uint64(56)).astype(np.uint8).reshape(shape)


def _in_view(box: np.ndarray, view: np.ndarray, size: int) -> np.ndarray:
    """A box of the image in px of a view that shows `view` of it at `size` px; a sliver keeps a px."""
    if not box[2:].any():
        return np.zeros(4, np.int64)
    scale = size / view[2:]
    begin = np.floor((box[:2] - view[:2]) * scale).astype(np.int64).clip(0, size - 1)
    end = np.ceil((box[:2] + box[2:] - view[:2]) * scale).astype(np.int64).clip(1, size)
    return np.concatenate([begin, end - begin])


def _drawn(crop: RandomResizedCrop, uid: np.ndarray, hw: np.ndarray, seed: int, epoch: int, turn: int) -> np.ndarray:
    """[N, 2, 4]"""
    two = [draw((crop,), uid, hw, seed=seed, epoch=epoch, number=2 * turn + view)[0]["box"] for view in range(2)]
    return np.stack(two, axis=1)


def _quarters(crop: RandomResizedCrop, uid: np.ndarray, hw: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """[N, 2, 4]: the second corner is one of the three that are left."""
    half = np.maximum(hw // 2, 1)
    u = uniforms(fold(hashed(seed, epoch, Purpose.CORNERS, uid)[:, None], np.arange(2)))  # [N, 2]
    first = np.floor(4 * u[:, 0]).astype(np.int64)
    corner = np.stack([first, (first + 1 + np.floor(3 * u[:, 1]).astype(np.int64)) % 4], axis=1)  # [N, 2]
    out = _drawn(RandomResizedCrop(crop.size, QUARTER, crop.ratio, crop.filter), uid, half, seed, epoch, 0)
    out[..., :2] += np.stack([corner // 2, corner % 2], axis=-1) * (hw - half)[:, None]
    return out
