"""A part of a source: rows, labels and origin; and how it is narrowed to some classes or a share of each class."""

from typing import NamedTuple

import numpy as np

from ..errors import UserError
from ..info import JSON
from ..sources.source import Source
from .classsets import class_set, remap
from .draws import keyed_rank
from .options import SubsetOptions


class Part(NamedTuple):
    """The images to store, in the source's order, and their labels."""

    rows: np.ndarray  # [N] int64 positions in the source, ascending
    label: np.ndarray  # [N] int32 as stored; -1 = unlabeled
    classes: tuple[str, ...]
    origin: JSON  # for dataset.json
    missing: list[str]  # paths of a list that the source lacks


def labeled_part(source: Source, rows: np.ndarray, origin: JSON, missing: list[str]) -> Part:
    """Rows of a source, with its labels and classes."""
    return Part(rows, source.label[rows].astype(np.int32), source.classes, origin, missing)


def with_classes(source: Source, part: Part, name: str, choice: SubsetOptions) -> Part:
    """The images of a class set in a part, labels from 0."""
    if not part.classes:
        raise UserError(f"{source.name} has no classes to choose from: leave out --classes")
    names, origin = class_set(name, source.classes, choice.lists, compute=bool(choice.draw_subset))
    label, classes = remap(part.label, part.classes, names, name)
    keep = label >= 0
    return Part(part.rows[keep], label[keep], classes, part.origin | {"classes": origin}, part.missing)


def share(source: Source, part: Part, choice: SubsetOptions, seed: int) -> Part:
    """The first images of each class in keyed order: a fraction, at least one image, or a number of images.

    Unlabeled images count as one class."""
    group = part.label + 1
    have = np.bincount(group, minlength=len(part.classes) + 1)
    if choice.per_class:
        if not choice.allow_missing:
            _check_enough(source, part, have, choice.per_class)
        counts, origin = np.full(len(have), choice.per_class), {"per_class": choice.per_class}
    elif choice.fraction < 1:
        counts, origin = np.maximum(np.rint(choice.fraction * have), 1), {"fraction": choice.fraction}
    else:
        return part
    keep = keyed_rank(source.uids(part.rows), group, seed) < counts[group]
    return part._replace(rows=part.rows[keep], label=part.label[keep], origin=part.origin | origin | {"seed": seed})


def _check_enough(source: Source, part: Part, have: np.ndarray, count: int) -> None:
    """UserError when a class has fewer than `count` images; have [1 + C], the unlabeled first."""
    names, have = (part.classes, have[1:]) if part.classes else (("unlabeled",), have)
    short = np.flatnonzero(have < count)
    if len(short):
        c = short[0]
        raise UserError(
            f"--per-class {count}: class {names[c]} has {have[c]} images ({len(short)} of {len(names)} classes have "
            f"fewer than {count}) in {source.name}: take fewer, or all of those with --allow-missing"
        )
