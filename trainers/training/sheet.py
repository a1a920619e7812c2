"""The views of a few images of a batch on one sheet, for loggers that show images."""

from collections.abc import Callable

import numpy as np
import torch

from ...augment.spec import Normalize, View, Views, size_of
from ...pipeline.batch import Batch

IMAGES, GAP = 8, 4  # columns, and px between them

Sheet = Callable[[Batch], np.ndarray]  # the views of a batch -> an image [H, W, 3] uint8


def sheet(views: Views, batch: Batch) -> np.ndarray:
    """[H, W, 3] uint8: a row for each view, a column for each of the first images, no more than IMAGES."""
    sides = [size_of(view) for view in views]
    columns = min(IMAGES, len(batch.index))
    page = np.full((sum(sides) + GAP * (len(sides) - 1), columns * (max(sides) + GAP) - GAP, 3), 255, np.uint8)
    top = 0
    for view, side, normalized in zip(views, sides, batch.views, strict=True):
        for column, image in enumerate(_shown(view, normalized[:columns])):
            left = column * (max(sides) + GAP)
            page[top : top + side, left : left + side] = image
        top += side + GAP
    return page


def _shown(view: View, normalized: torch.Tensor) -> np.ndarray:
    """Images [n, S, S, 3] uint8 of normalized views [n, 3, S, S]."""
    x = normalized.detach().float().cpu().permute(0, 2, 3, 1)
    if norm := next((op for op in view if isinstance(op, Normalize)), None):
        x = x * torch.tensor(norm.std) + torch.tensor(norm.mean)
    return x.mul(255).round().clamp(0, 255).to(torch.uint8).numpy()
