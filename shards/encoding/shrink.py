"""Shrinks images as PIL does, bit for bit, and several times as fast where numba is installed.

PIL's antialiased bicubic works on 8-bit pixels with 22-bit fixed-point weights: one pass along the rows, one across
them, with rounding in between. The numba kernels do the same arithmetic on many bytes side by side in vector registers.
Without numba PIL runs each pass by itself, because the order of its passes depends on its version. So a build gives the
same bytes with and without numba, on every CPU, and with every version of PIL.
"""

from functools import cache

import numpy as np
from PIL import Image

from ..errors import installed

PRECISION = 22  # bits of a weight; with 8 for the pixel and 2 for overshoot, 32 in all
SUPPORT = 2.0  # px on each side: the reach of the bicubic filter
A = -0.5  # the parameter of the bicubic filter
NUMBA = installed("numba")


def warm_up() -> None:
    """Compile the kernels or load them, where numba is installed, before workers do so side by side."""
    if NUMBA:
        from ..kernels import ready

        ready({"shrinking rows": f"{__package__}.dots", "shrinking images": f"{__package__}.kernels"})


def shrink(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """[H, W, 3] uint8 -> [height, width, 3] uint8; height <= H, width <= W."""
    if not NUMBA:
        narrow = Image.fromarray(pixels).resize((width, len(pixels)), Image.Resampling.BICUBIC)
        return np.asarray(narrow.resize((width, height), Image.Resampling.BICUBIC))
    from . import dots, kernels  # compiled on first use

    tall, wide = pixels.shape[:2]
    across = np.ascontiguousarray(pixels), *taps(wide, width)
    narrow = np.empty(3 * tall * width + kernels.SLACK, np.uint8)
    if not dots.columns(*across, narrow):
        kernels.columns(*across, narrow)
    out = np.empty(3 * height * width + kernels.SLACK, np.uint8)
    kernels.rows(narrow, 3 * width, *taps(tall, height), out)
    return out[: 3 * height * width].reshape(height, width, 3)


@cache
def taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of `new` px: the first of `old` px that it depends on [new], and 22-bit weights [new, taps]."""
    scale = max(old / new, 1.0)
    reach = SUPPORT * scale
    center = (np.arange(new) + 0.5) * (old / new)
    low = np.maximum((center - reach + 0.5).astype(np.int64), 0)  # toward zero, as C does
    high = np.minimum((center + reach + 0.5).astype(np.int64), old)
    at = np.arange(int(np.ceil(reach)) * 2 + 1)
    x = np.abs((at + low[:, None] - center[:, None] + 0.5) * (1.0 / scale))
    near, far = ((A + 2.0) * x - (A + 3.0)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * A
    weights = np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))
    weights[at >= (high - low)[:, None]] = 0.0
    total = np.zeros(new)
    for column in weights.T:  # in PIL's order: floating-point sums depend on it
        total += column
    weights /= total[:, None]
    fixed = np.trunc(weights * (1 << PRECISION) + np.where(weights < 0, -0.5, 0.5)).astype(np.int32)
    used = int((high - low).max())
    return low.astype(np.int32), np.ascontiguousarray(fixed[:, :used])
