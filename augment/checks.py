"""Views that a renderer can execute; every other view is refused with the reason."""

from dataclasses import fields

from ..shards.errors import UserError
from .spec import (
    ColorJitter,
    HideAndSeek,
    Normalize,
    Op,
    RandomResizedCrop,
    ResizeCenterCrop,
    Solarize,
    UserOp,
    View,
    Views,
    built_in_ops,
    user_ops,
)


def check(views: Views) -> Views:
    """`views` unchanged; UserError for a view that no renderer can execute."""
    for number, view in enumerate(views):
        for op in user_ops(view):
            _check_user_op(number, op)
        _check_order(number, view)
        for op in built_in_ops(view):
            _check_values(op)
    return views


def _check_user_op(number: int, op: UserOp) -> None:
    if isinstance(op, type) or not callable(op):
        raise UserError(f"view {number} has {op!r}, which is not an op: name objects like HorizontalFlip()")
    if type(op).__module__.startswith("kornia."):
        raise UserError(
            f"view {number} has {op!r}, which draws from generators of torch: write Kornia({type(op).__name__}(...))"
        )
    try:
        hash(op)
    except TypeError as error:
        raise UserError(f"view {number} has {op}, which cannot be hashed: make its class a frozen dataclass") from error


def _check_order(number: int, view: View) -> None:
    kinds, crops = [type(op) for op in built_in_ops(view)], {RandomResizedCrop, ResizeCenterCrop}
    if not view or type(view[0]) not in crops or crops & set(kinds[1:]):
        raise UserError(f"view {number} must begin with its only RandomResizedCrop or ResizeCenterCrop: {view}")
    if kinds.count(Normalize) != 1 or kinds[kinds.index(Normalize) + 1 :] not in ([], [HideAndSeek]):
        raise UserError(
            f"view {number} must end with one Normalize, which only HideAndSeek and ops of your own may follow: {view}"
        )
    if len(set(kinds)) < len(kinds):
        raise UserError(f"view {number} has an op twice, and both would draw the same numbers: {view}")
    if early := user_ops(view[: len(kinds)]):
        raise UserError(
            f"view {number} has {early[0]} before {kinds[-1].__name__}, but an op of your own gets normalized floats: "
            f"put it last"
        )


def _check_values(op: Op) -> None:
    values = {f.name: getattr(op, f.name) for f in fields(op)}
    if not 0 <= values.get("p", 0) <= 1:
        raise UserError(f"p must be in 0..1: {op}")
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
        raise UserError(f"HideAndSeek needs grids of at least 0 px, one above 0, and hide in 0..1: {op}")
    if isinstance(op, Solarize) and not 0 <= op.threshold <= 256:
        raise UserError(f"threshold must be in 0..256: {op}")
    if isinstance(op, RandomResizedCrop) and op.area[1] > 1:
        raise UserError(f"a crop cannot exceed the image, its area must be at most 1: {op}")
    if isinstance(op, ResizeCenterCrop) and op.short < op.size:
        raise UserError(f"a center of {op.size} px does not fit a short side of {op.short} px: {op}")
    if isinstance(op, ColorJitter) and not (min(op.brightness, op.contrast, op.saturation) >= 0 <= op.hue <= 0.5):
        raise UserError(f"jitter strengths must be >= 0, hue within 0..0.5 turns: {op}")
