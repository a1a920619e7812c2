"""Gaps between a renderer and the reference: the views that are measured, the measurement, and the limits."""

import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from viewstream.augment.draw import draw
from viewstream.augment.recipes import VIEWS
from viewstream.augment.renderers import reference
from viewstream.augment.spec import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Normalize,
    Op,
    RandomResizedCrop,
    ResizeCenterCrop,
    Solarize,
    View,
)
from viewstream.shards.errors import choose
from viewstream.tools.bench.gaps.renderers import Images, PlanesCrop, Renderer, dali_crop, host_crop_and_kornia, sides

TOGETHER = 5  # images per call of a renderer
COLORS: dict[str, Op] = {
    "brightness": ColorJitter(0.4, 0, 0, 0),
    "contrast": ColorJitter(0, 0.4, 0, 0),
    "saturation": ColorJitter(0, 0, 0.4, 0),
    "hue": ColorJitter(0, 0, 0, 0.1),
}
OPS = {
    "flip": HorizontalFlip(p=1),
    "gray": Grayscale(p=1),
    **COLORS,
    "jitter": ColorJitter(0.4, 0.4, 0.4, 0.1),
    "blur": GaussianBlur(p=1),
    "solarize": Solarize(p=1),
}
EXACT = 1e-3  # the gap that float arithmetic may leave where there should be none
MEAN_LIMITS = {"flip": EXACT, "solarize": EXACT, "gray": 0.5, "blur": 0.7, **dict.fromkeys(COLORS, 1.0)}
MEAN_LIMITS |= {"moco_v2": 1.5, "byol view 1": 1.7, "byol view 2": 1.7}
CROP_MEAN, CROP_MAX, DECODED_MEAN, VIEW_P99 = 0.3, 2.0, 0.5, 8.0  # DECODED: by DALI, or from planes
KORNIA_BLUR_MEAN = 0.8  # a Gaussian kernel, where PIL has three box filters


class Gap(NamedTuple):
    """Absolute differences over all values of all images, in levels of 8 bits."""

    mean: float
    p99: float
    maximum: float


def cases(size: int) -> dict[str, View]:
    """Name -> view, for crops, ops and recipes; the different views of a recipe are numbered."""
    views: dict[str, View] = {
        f"crop {filter}": (RandomResizedCrop(size, filter=filter), Normalize()) for filter in ("bilinear", "bicubic")
    }
    views |= {name: (ResizeCenterCrop(size, size), op, Normalize()) for name, op in OPS.items()}
    for name, recipe in VIEWS.items():
        different = list(dict.fromkeys(recipe(size)))
        views |= {f"{name} view {n}" if len(different) > 1 else name: view for n, view in enumerate(different, 1)}
    return views


def chosen(only: Sequence[str]) -> list[str]:
    """Names of the cases of the ops and recipes `only`, or of all; UserError for an unknown name."""
    wanted = [choose("op or recipe", name, [*OPS, "crop", *VIEWS]) for name in only]
    return [name for name in cases(32) if not wanted or name.split()[0] in wanted]


def measure_all(
    names: list[str], sizes: Sequence[int], images: Images, renderers: dict[str, Renderer]
) -> dict[str, dict[str, list[Gap]]]:
    """Renderer -> case -> one gap per size; progress goes to stderr.

    An op is measured on images resized to squares, which its view takes whole.
    """
    gaps: dict[str, dict[str, list[Gap]]] = {renderer: {name: [] for name in names} for renderer in renderers}
    measured: dict[tuple[View, bool], dict[str, Gap]] = {}  # several recipes share a view
    for size in sizes:
        squares = [np.array(Image.fromarray(x).resize((size, size), Image.Resampling.BILINEAR)) for x in images]
        for name in names:
            print(f"\r{size:4d} px: {name:<24}", end="", file=sys.stderr, flush=True)
            view, alone = cases(size)[name], name in OPS
            if (view, alone) not in measured:
                measured[view, alone] = measure(view, squares if alone else images, renderers)
            for renderer, gap in measured[view, alone].items():
                gaps[renderer][name].append(gap)
    print("\r", end="", file=sys.stderr)
    return gaps


def measure(view: View, images: Images, renderers: dict[str, Renderer]) -> dict[str, Gap]:
    """The gap of each renderer to the reference, from the same draws."""
    std = next(torch.tensor(op.std).view(3, 1, 1) for op in view if isinstance(op, Normalize))
    parts: dict[str, list[Tensor]] = {name: [] for name in renderers}
    for at in range(0, len(images), TOGETHER):
        batch = images[at : at + TOGETHER]
        draws = draw(view, np.arange(at, at + len(batch), dtype=np.uint64), sides(batch), seed=0, epoch=0, number=0)
        right = torch.stack([reference.render(view, Image.fromarray(x), draws, i) for i, x in enumerate(batch)])
        for name, render in renderers.items():
            parts[name].append(((render(view, batch, draws) - right).abs() * std * 255).flatten())
    levels = {name: torch.cat(tensors).numpy() for name, tensors in parts.items()}
    return {n: Gap(float(x.mean(dtype=float)), float(np.percentile(x, 99)), float(x.max())) for n, x in levels.items()}


def limits(name: str, view: View, renderer: Renderer) -> Gap:
    """The largest gap that a renderer may have in a case; infinite where there is no limit."""
    decoded = renderer is dali_crop or isinstance(renderer, PlanesCrop)
    geometric = all(isinstance(op, RandomResizedCrop | ResizeCenterCrop | HorizontalFlip | Normalize) for op in view)
    if geometric and name not in OPS:
        mean, maximum = (DECODED_MEAN, np.inf) if decoded else (CROP_MEAN, CROP_MAX)
    else:
        mean, maximum = MEAN_LIMITS.get(name, np.inf), np.inf
        if name == "blur" and renderer is host_crop_and_kornia:
            mean = KORNIA_BLUR_MEAN
    return Gap(mean, VIEW_P99 if name in VIEWS or " view " in name else np.inf, maximum)
