"""The reference renderer: PIL and torchvision's functionals, one image at a time. Slow; it defines the correct pixels.

It resizes the width first, then the height, and rounds in between, as PIL did when the published recipes ran. That
takes two calls, because Pillow 13 picks the cheaper order, which for bicubic differs by up to 10 levels.
"""

import numpy as np
import torch
from PIL import Image, ImageFilter
from torchvision.transforms import functional as F

from ..draw import Draw, Draws
from ..spec import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HideAndSeek,
    HorizontalFlip,
    Normalize,
    RandomResizedCrop,
    ResizeCenterCrop,
    Solarize,
    View,
    built_in_ops,
)

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def render(view: View, image: Image.Image, draws: Draws, row: int) -> torch.Tensor:
    """One RGB image -> [3, S, S] float32, after the built-in ops of `view` by row `row` of the draws."""
    x = torch.empty(0)
    for op, draw in zip(built_in_ops(view), draws, strict=True):
        if "on" in draw and not draw["on"][row]:
            continue
        match op:
            case RandomResizedCrop():
                top, left, height, width = (int(v) for v in draw["box"][row])
                box = image.crop((left, top, left + width, top + height))
                image = _resized(box, op.size, op.size, FILTERS[op.filter])
            case ResizeCenterCrop():
                side = min(image.size)
                width, height = (op.short * length // side for length in image.size)
                image = F.center_crop(_resized(image, width, height, FILTERS[op.filter]), [op.size, op.size])  # pyright: ignore
            case HorizontalFlip():
                image = F.hflip(image)  # pyright: ignore
            case ColorJitter():
                image = _jitter(image, op, draw, row)
            case Grayscale():
                image = F.rgb_to_grayscale(image, 3)  # pyright: ignore
            case GaussianBlur():
                image = image.filter(ImageFilter.GaussianBlur(float(draw["sigma"][row])))
            case Solarize():
                image = F.solarize(image, op.threshold)  # pyright: ignore
            case Normalize():
                x = F.normalize(F.to_tensor(image), list(op.mean), list(op.std))
            case HideAndSeek():
                x = _mask(x, int(draw["grid"][row]), draw["keep"][row])
    return x


def _resized(image: Image.Image, width: int, height: int, filter: Image.Resampling) -> Image.Image:
    return image.resize((width, image.height), filter).resize((width, height), filter)


def _mask(x: torch.Tensor, side: int, keep: np.ndarray) -> torch.Tensor:
    x, cells = x.clone(), iter(keep.tolist())
    for top in range(0, x.shape[1], side) if side else ():
        for left in range(0, x.shape[2], side):
            x[:, top : top + side, left : left + side] *= next(cells)
    return x


def _jitter(image: Image.Image, op: ColorJitter, draw: Draw, row: int) -> Image.Image:
    """Jitter as torchvision does: a strength of 0 skips the step, since even a hue shift of 0 rounds to 8-bit HSV."""
    strengths = (op.brightness, op.contrast, op.saturation, op.hue)
    turns = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
    factors: np.ndarray = draw["factor"][row]
    for which in draw["order"][row]:
        if not strengths[which]:
            continue
        if which == 3:
            image = F.adjust_hue(image, float(draw["hue"][row]))  # pyright: ignore
        else:
            image = turns[which](image, float(factors[which]))  # pyright: ignore
    return image
