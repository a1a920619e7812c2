"""What a view *is*: an ordered tuple of operations. Numbers only: no torch, no randomness, no pixels.

Order is meaning: MoCo v1 grays before it jitters, v2 jitters before it grays. `p` is per image. Sizes are px of the
output, sigma is px of the output, hue is in turns, areas are fractions of the source image.
"""

from dataclasses import dataclass, fields
from typing import Literal

from ..shards.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INAT_MEAN = (0.466, 0.471, 0.380)
INAT_STD = (0.195, 0.194, 0.192)
SWAV_STD = (0.228, 0.224, 0.225)  # so in SwAV's release
Filter = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class RandomResizedCrop:
    """A box of random area and aspect, cut out and resized to size x size with PIL's antialiased filter."""

    size: int
    area: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    filter: Filter = "bilinear"


@dataclass(frozen=True)
class ResizeCenterCrop:
    """The whole image resized until its short side is `short`, then the center size x size."""

    size: int
    short: int
    filter: Filter = "bilinear"


@dataclass(frozen=True)
class HorizontalFlip:
    """Left to right."""

    p: float = 0.5


@dataclass(frozen=True)
class ColorJitter:
    """Brightness, contrast, saturation and hue by factors from [1-x, 1+x] (hue: a shift from [-x, x] turns), in a
    random order drawn per image."""

    brightness: float
    contrast: float
    saturation: float
    hue: float
    p: float = 1.0


@dataclass(frozen=True)
class Grayscale:
    """Three equal channels of luma."""

    p: float = 0.2


@dataclass(frozen=True)
class GaussianBlur:
    """PIL's Gaussian blur with a radius uniform in `sigma`."""

    sigma: tuple[float, float] = (0.1, 2.0)
    p: float = 0.5


@dataclass(frozen=True)
class Solarize:
    """Invert what is at least `threshold` (of 255)."""

    p: float = 0.2
    threshold: int = 128


@dataclass(frozen=True)
class Normalize:
    """(x - mean) / std on values in 0..1, per channel."""

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


@dataclass(frozen=True)
class HideAndSeek:
    """Hide and seek: a grid of cells of a side drawn from `grids` px (0 = none), each hidden (zero, the mean color)
    with probability `hide`. Stands behind Normalize."""

    grids: tuple[int, ...] = (0, 14, 28, 56)
    hide: float = 0.5


Op = (
    RandomResizedCrop
    | ResizeCenterCrop
    | HorizontalFlip
    | ColorJitter
    | Grayscale
    | GaussianBlur
    | Solarize
    | Normalize
    | HideAndSeek
)
View = tuple[Op, ...]
Views = tuple[View, ...]


def size_of(view: View) -> int:
    """Height and width of the view, px."""
    op = view[0]
    assert isinstance(op, RandomResizedCrop | ResizeCenterCrop)
    return op.size


def check(views: Views) -> Views:
    """`views`, or UserError for one that no renderer could execute."""
    for number, view in enumerate(views):
        kinds = [type(op) for op in view]
        if (
            not kinds
            or kinds[0] not in (RandomResizedCrop, ResizeCenterCrop)
            or {RandomResizedCrop, ResizeCenterCrop} & set(kinds[1:])
        ):
            raise UserError(f"view {number} must begin with its one RandomResizedCrop or ResizeCenterCrop: {view}")
        if kinds.count(Normalize) != 1 or kinds[kinds.index(Normalize) + 1 :] not in ([], [HideAndSeek]):
            raise UserError(
                f"view {number} must end with its one Normalize, behind which a HideAndSeek may stand: {view}"
            )
        if len(set(kinds)) < len(kinds):
            raise UserError(f"view {number} names an operation twice, and both would draw the same numbers: {view}")
        for op in view:
            _check(op)
    return views


def _check(op: Op) -> None:
    values = {f.name: getattr(op, f.name) for f in fields(op)}
    if not 0 <= values.get("p", 0) <= 1:
        raise UserError(f"p must lie in 0..1: {op}")
    for name in ("size", "short"):
        if name in values and values[name] < 1:
            raise UserError(f"{name} must be at least 1 px: {op}")
    for name in ("area", "ratio", "sigma"):
        low, high = values.get(name, (1, 1))
        if not 0 < low <= high:
            raise UserError(f"{name} must be 0 < low <= high: {op}")
    if isinstance(op, HideAndSeek) and not (
        op.grids and min(op.grids) >= 0 and max(op.grids) > 0 and 0 <= op.hide <= 1
    ):
        raise UserError(f"a mask needs grids of some px, and to hide with a probability in 0..1: {op}")
    if isinstance(op, Solarize) and not 0 <= op.threshold <= 256:
        raise UserError(f"a threshold must lie in 0..256: {op}")
    if isinstance(op, RandomResizedCrop) and op.area[1] > 1:
        raise UserError(f"a crop cannot exceed the image, area is {op.area}: {op}")
    if isinstance(op, ResizeCenterCrop) and op.short < op.size:
        raise UserError(f"the center of {op.size} px does not fit a short side of {op.short} px: {op}")
    if isinstance(op, ColorJitter) and not (min(op.brightness, op.contrast, op.saturation) >= 0 <= op.hue <= 0.5):
        raise UserError(f"jitter strengths must be >= 0, hue within 0..0.5 turns: {op}")
