"""Who executes which op: the host cuts (and mirrors) out of the decoded image, the device does the rest.

A mirrored cut costs nothing, and mirroring commutes with every other op of a view, so `HorizontalFlip` goes with the
cut wherever it stands in the view.
"""

import numpy as np

from .draw import Draw, Draws
from .spec import HorizontalFlip, Op, RandomResizedCrop, ResizeCenterCrop, View

CROP_FIELDS = (
    10  # source box: top, left, height, width; resized height, width; first row, column kept; mirrored? bicubic?
)


def on_device(view: View) -> tuple[Op, ...]:
    """The ops that remain once the host has cut."""
    return tuple(op for op in view[1:] if not isinstance(op, HorizontalFlip))


def crop_params(view: View, draws: Draws, hw: np.ndarray) -> np.ndarray:
    """What the host has to cut for sources of sizes `hw` [N, 2] px: [N, CROP_FIELDS] int32."""
    out = np.zeros((len(hw), CROP_FIELDS), np.int32)
    for op, draw in zip(view, draws, strict=True):
        match op:
            case RandomResizedCrop():
                out[:, :4], out[:, 4:6] = draw["box"], op.size
            case ResizeCenterCrop():
                out[:, 2:4], out[:, 4:6] = hw, _resized(op, hw)
                out[:, 6:8] = np.rint((out[:, 4:6] - op.size) / 2)  # torchvision's round half to even
            case HorizontalFlip():
                out[:, 8] = draw["on"]
            case _:
                continue
        if isinstance(op, RandomResizedCrop | ResizeCenterCrop):
            out[:, 9] = op.filter == "bicubic"
    return out


def _resized(op: ResizeCenterCrop, hw: np.ndarray) -> np.ndarray:
    """[N, 2] sizes with the short side at `short` and the long one truncated, as torchvision does."""
    hw = hw.astype(np.int64)
    return op.short * hw // hw.min(axis=1, keepdims=True)


def rest(view: View, draws: Draws) -> tuple[tuple[Op, Draw], ...]:
    """The device's ops, each with its draw."""
    kept = on_device(view)
    return tuple((op, draw) for op, draw in zip(view, draws, strict=True) if op in kept)
