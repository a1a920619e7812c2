"""What a view is: an ordered tuple of ops. Numbers only: no torch, no randomness, no pixels.

The order matters: MoCo v1 turns gray before it jitters, MoCo v2 after. `p` is the probability per image. Sizes and
sigma are in px of the output, hue is in turns, areas are fractions of the source image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INAT_MEAN = (0.466, 0.471, 0.380)
INAT_STD = (0.195, 0.194, 0.192)
SWAV_STD = (0.228, 0.224, 0.225)  # as in SwAV's release
Filter = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class RandomResizedCrop:
    """Crop a box of random area and aspect ratio, and resize it to size x size with PIL's antialiased filter."""

    size: int
    area: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    filter: Filter = "bilinear"


@dataclass(frozen=True)
class ResizeCenterCrop:
    """Resize the whole image so that its short side is `short`, then crop the center size x size."""

    size: int
    short: int
    filter: Filter = "bilinear"


@dataclass(frozen=True)
class HorizontalFlip:
    """Mirror left and right."""

    p: float = 0.5


@dataclass(frozen=True)
class ColorJitter:
    """Change brightness, contrast and saturation by factors from [1-x, 1+x] and shift hue by [-x, x] turns, in an order
    drawn per image."""

    brightness: float
    contrast: float
    saturation: float
    hue: float
    p: float = 1.0


@dataclass(frozen=True)
class Grayscale:
    """Set all three channels to the luma."""

    p: float = 0.2


@dataclass(frozen=True)
class GaussianBlur:
    """Blur with PIL's GaussianBlur, its radius uniform in `sigma`."""

    sigma: tuple[float, float] = (0.1, 2.0)
    p: float = 0.5


@dataclass(frozen=True)
class Solarize:
    """Invert values of at least `threshold` (0..255)."""

    p: float = 0.2
    threshold: int = 128


@dataclass(frozen=True)
class Normalize:
    """(x - mean) / std per channel, for values in 0..1."""

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


@dataclass(frozen=True)
class HideAndSeek:
    """Hide cells of a grid, each with probability `hide`; the side of a cell is drawn from `grids` px (0: no grid).
    Hidden values are 0, the mean color, so this op comes after Normalize."""

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
"""An op of this project."""
UserOp = Callable[[Any, Any], Any]
"""An op of your own: frozen and hashable, (x, keyed) -> x on images [N, 3, S, S]; see renderers/user_ops.py."""
View = tuple[Op | UserOp, ...]
"""What is done to an image, in order: a crop first, ops of your own last."""
Views = tuple[View, ...]
"""What a recipe makes of each image: one view or several."""


def built_in_ops(view: View) -> tuple[Op, ...]:
    """The ops of this file, which every renderer executes."""
    return tuple(op for op in view if isinstance(op, Op))


def user_ops(view: View) -> tuple[UserOp, ...]:
    """The user's own ops, which come last in a view and run on its normalized floats."""
    return tuple(op for op in view if not isinstance(op, Op))


def size_of(view: View) -> int:
    """The height and width of a view, px."""
    op = view[0]
    assert isinstance(op, RandomResizedCrop | ResizeCenterCrop)
    return op.size
