"""What a view *is*: an ordered tuple of operations. Numbers only: no torch, no randomness, no pixels.

Order is meaning: MoCo v1 greys before it jitters, v2 jitters before it greys. `p` is per image. Sizes are px of the
output, sigma is px of the output, hue is in turns, areas are fractions of the source image.
"""

from dataclasses import dataclass, fields

from ..shards.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Crop:
    """A box of random area and aspect, cut out and resized to size x size with PIL's antialiased bilinear filter."""

    size: int
    area: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)


@dataclass(frozen=True)
class ResizeCenterCrop:
    """The whole image resized until its short side is `short`, then the centre size x size."""

    size: int
    short: int


@dataclass(frozen=True)
class Flip:
    """Left to right."""

    p: float = 0.5


@dataclass(frozen=True)
class Jitter:
    """Brightness, contrast, saturation and hue by factors from [1-x, 1+x] (hue: a shift from [-x, x] turns), in a
    random order drawn per image."""

    brightness: float
    contrast: float
    saturation: float
    hue: float
    p: float = 1.0


@dataclass(frozen=True)
class Grey:
    """Three equal channels of luma."""

    p: float = 0.2


@dataclass(frozen=True)
class Blur:
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


Op = Crop | ResizeCenterCrop | Flip | Jitter | Grey | Blur | Solarize | Normalize
View = tuple[Op, ...]
Views = tuple[View, ...]


def check(views: Views) -> Views:
    """`views`, or UserError for one that no renderer could execute."""
    for number, view in enumerate(views):
        kinds = [type(op) for op in view]
        if not kinds or kinds[0] not in (Crop, ResizeCenterCrop) or {Crop, ResizeCenterCrop} & set(kinds[1:]):
            raise UserError(f"view {number} must begin with its one Crop or ResizeCenterCrop: {view}")
        if Normalize in kinds[:-1] or kinds[-1] is not Normalize:
            raise UserError(f"view {number} must end with its one Normalize: {view}")
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
    if isinstance(op, Crop) and op.area[1] > 1:
        raise UserError(f"a crop cannot exceed the image, area is {op.area}: {op}")
    if isinstance(op, ResizeCenterCrop) and op.short < op.size:
        raise UserError(f"the centre of {op.size} px does not fit a short side of {op.short} px: {op}")
    if isinstance(op, Jitter) and not (min(op.brightness, op.contrast, op.saturation) >= 0 <= op.hue <= 0.5):
        raise UserError(f"jitter strengths must be >= 0, hue within 0..0.5 turns: {op}")


def moco_v1(size: int = 224) -> Views:
    """Two draws of MoCo v1's pipeline (arXiv:1911.05722; greys first, always jitters)."""
    view = (Crop(size), Grey(), Jitter(0.4, 0.4, 0.4, 0.4), Flip(), Normalize())
    return check((view, view))


def moco_v2(size: int = 224) -> Views:
    """Two draws of MoCo v2's pipeline (arXiv:2003.04297)."""
    view = (Crop(size), Jitter(0.4, 0.4, 0.4, 0.1, p=0.8), Grey(), Blur(), Flip(), Normalize())
    return check((view, view))


def evaluation(size: int = 224) -> Views:
    """One view: short side 256 for a centre of 224, in proportion for other sizes."""
    return check(((ResizeCenterCrop(size, round(size * 256 / 224)), Normalize()),))
