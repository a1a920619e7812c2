"""Which op runs where: the host crops and mirrors the decoded image, the device executes all other built-in ops.

Mirroring costs nothing during the crop and commutes with every other op of a view, so the host mirrors at whatever
position `HorizontalFlip` has in the view.
"""

import numpy as np

from .draw import Draw, Draws
from .spec import HorizontalFlip, Op, RandomResizedCrop, ResizeCenterCrop, View, built_in_ops

# Columns of a crop: top, left, height, width of the source box; height, width after resizing; first row and first
# column kept of that; mirrored?; bicubic?
CROP_FIELDS = 10
BICUBIC = 9


def on_device(view: View) -> tuple[Op, ...]:
    """The built-in ops without those of the host, in the view's order."""
    return tuple(op for op in built_in_ops(view)[1:] if not isinstance(op, HorizontalFlip))


def crop_params(view: View, draws: Draws, hw: np.ndarray) -> np.ndarray:
    """The crop of each source image, of sizes `hw` [N, 2] px: [N, CROP_FIELDS] int32."""
    out = np.zeros((len(hw), CROP_FIELDS), np.int32)
    for op, draw in zip(built_in_ops(view), draws, strict=True):
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
            out[:, BICUBIC] = op.filter == "bicubic"
    return out


def _resized(op: ResizeCenterCrop, hw: np.ndarray) -> np.ndarray:
    """Sizes [N, 2] px after resizing: the short side is `short`, the long side is rounded down, as in torchvision."""
    hw = hw.astype(np.int64)
    return op.short * hw // hw.min(axis=1, keepdims=True)


def rest(view: View, draws: Draws) -> tuple[tuple[Op, Draw], ...]:
    """The ops of `on_device`, each with its draw."""
    ops = on_device(view)
    return tuple((op, draw) for op, draw in zip(built_in_ops(view), draws, strict=True) if op in ops)
