"""The drawn parameters of a view as one float32 matrix, so that a single copy moves them to a device.

The device and the host renderer read it. Where an op is off, its columns hold values that change nothing.
"""

import math

import numpy as np

from ..draw import Draw, max_cells
from ..spec import ColorJitter, GaussianBlur, Grayscale, HideAndSeek, Op, Solarize

Rest = tuple[tuple[Op, Draw], ...]

SWITCHES = (Grayscale, Solarize)  # ops that are drawn on or off and have no other parameter
SLOTS = 6  # blends of a jitter: three before the hue shift and three after


def pack(rest: Rest, samples: int) -> np.ndarray:
    """The parameters of ops and their draws (`crops.rest`), one row per sample: [N, P] float32."""
    columns = [np.zeros((samples, 0)), *(_columns(op, draw) for op, draw in rest if draw)]
    return np.concatenate(columns, axis=1, dtype=np.float32)


def width(op: Op, size: int) -> int:
    """The number of columns of an op, in a view of `size` px. Without `match`, as `device.render`, which calls it."""
    if isinstance(op, ColorJitter):
        return 3 * SLOTS + 1
    if isinstance(op, GaussianBlur):
        return reach(op) + 1
    if isinstance(op, SWITCHES):
        return 1
    return 1 + max_cells(op, size) if isinstance(op, HideAndSeek) else 0


def _columns(op: Op, draw: Draw) -> np.ndarray:
    match op:
        case ColorJitter():
            return _blends(draw)
        case GaussianBlur():
            return half_kernels(np.where(draw["on"], draw["sigma"], 0.0), reach(op))
        case HideAndSeek():
            return np.concatenate([draw["grid"][:, None], draw["keep"]], axis=1)
        case _:  # Grayscale, Solarize
            return draw["on"][:, None]


def _blends(draw: Draw) -> np.ndarray:
    """ColorJitter's draw -> [N, 3 * SLOTS + 1]: per slot (factor, share of the mean, share of the luma), then the hue
    shift in turns.

    Brightness, contrast and saturation blend the image with black, its mean luma and its luma. So four turns in the
    order drawn for a sample are three blends, one hue shift and three blends; unused slots have factor 1.
    """
    order, n = draw["order"], len(draw["order"])
    slots = np.zeros((n, SLOTS, 3))
    slots[:, :, 0] = 1
    hue_at = (order == 3).argmax(axis=1)
    for turn in range(4):
        kind = order[:, turn]
        rows = (draw["on"] & (kind != 3)).nonzero()[0]
        slot = np.where(turn < hue_at, turn, turn + SLOTS - 4)[rows]  # 0..2 before the hue shift, 3..5 after it
        slots[rows, slot, 0] = draw["factor"][rows, kind[rows]]
        slots[rows, slot, 1] = kind[rows] == 1
        slots[rows, slot, 2] = kind[rows] == 2
    hue = np.where(draw["on"], draw["hue"], 0.0)
    return np.concatenate([slots.reshape(n, -1), hue[:, None]], axis=1)


def reach(op: GaussianBlur) -> int:
    """The number of px that the widest kernel of `op` touches on each side: three box filters of ceil(radius) each."""
    return 3 * math.ceil((math.sqrt(4 * op.sigma[1] ** 2 + 1) - 1) / 2)


def half_kernels(sigma: np.ndarray, reach: int) -> np.ndarray:
    """[N, reach + 1]: the center and right half of PIL's `GaussianBlur` kernels of `sigma` [N] px; 0 px: no blur.

    PIL does not use a Gaussian, but three box filters of variance sigma^2 / 3 with fractional ends (Gwosdek et al.
    2011).
    """
    variance = sigma**2 / 3
    whole = np.floor((np.sqrt(12 * variance + 1) - 1) / 2)
    part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (6 * (variance - (whole + 1) ** 2))
    distance = np.abs(np.arange(-reach, reach + 1))[None]  # [1, 2 reach + 1]
    box = np.clip(whole[:, None] + 1 - distance, 0, 1) + (distance == whole[:, None] + 1) * part[:, None]
    spectrum = np.fft.rfft(np.fft.ifftshift(box / box.sum(1, keepdims=True), axes=1), axis=1)
    return np.fft.irfft(spectrum**3, n=2 * reach + 1, axis=1)[:, : reach + 1]
