"""A part of a source: rows, labels and origin; and how it is narrowed to some classes, a tail or a share of each
class."""

from typing import NamedTuple

import numpy as np

from ..errors import UserError, plural
from ..info import JSON
from ..sources.source import Source
from .classsets import class_set, remap
from .draws import class_order, keyed_rank
from .options import SubsetOptions
from .tails import IMBALANCE, TAILS, WHOLE, tail_counts


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


def tail(source: Source, part: Part, name: str, imbalance: float, seed: int) -> Part:
    """The images of the tail `name` among those of a part. UserError for other classes, or too few images of one."""
    wanted = TAILS[name]
    if len(part.classes) != wanted.classes:
        remedy = "name its 100 classes with --classes FILE" if name == "imagenet100-lt" else "name its own source"
        raise UserError(
            f"{name} has {wanted.classes} classes, {source.name} has {len(part.classes)} of these: {remedy}, or draw "
            "a tail of any classes with --subset lt --draw-subset"
        )
    counts = tail_counts(name, imbalance)
    if wanted.ordered_by_seed:
        counts = counts[class_order(part.classes, seed).argsort()]
    have = np.bincount(part.label[part.label >= 0], minlength=wanted.classes)
    if len(short := np.flatnonzero(have < counts)):
        c = int(short[0])
        raise UserError(
            f"{name} takes {plural(counts[c], 'image')} of class {part.classes[c]}, {source.name} has {have[c]} "
            f"(classes that are short: {len(short)}): complete the source"
        )
    group = part.label + 1  # unlabeled images are none of it
    keep = keyed_rank(source.uids(part.rows), group, seed) < np.array([0, *counts])[group]
    origin = part.origin | {"from": "draw", "seed": seed}
    if name != "imagenet100-lt":
        origin |= {"counts": "exponential", "imbalance": imbalance or IMBALANCE}
    return part._replace(rows=part.rows[keep], label=part.label[keep], origin=origin)


def check_whole(source: Source, name: str) -> None:
    """UserError unless a source has the images and classes of the set `name`, whose list it is, and no class is
    empty."""
    have = np.bincount(source.label[source.label >= 0], minlength=len(source.classes))
    remedy = "name its training list with --source FILE --root FOLDER"
    if (facts := WHOLE[name]) and (len(source), len(have)) != facts:
        raise UserError(
            f"{name} has {facts[0]:,} images in {facts[1]} classes, {source.name} has {len(source):,} in {len(have)}: "
            f"{remedy}"
        )
    if len(empty := np.flatnonzero(have == 0)) or not len(have):
        raise UserError(f"{len(empty)} of {len(have)} classes of {source.name} have no images: {remedy} of {name}")


def share(source: Source, part: Part, choice: SubsetOptions, seed: int) -> Part:
    """The first images of each class in keyed order: a fraction, at least one image, or a number of images, after those
    of another such set.

    Unlabeled images count as one class."""
    group = part.label + 1
    have = np.bincount(group, minlength=len(part.classes) + 1)
    left = np.maximum(have - choice.after, 0)
    origin = {"after": choice.after} if choice.after else {}
    if choice.per_class:
        if not choice.allow_missing:
            _check_enough(source, part, left, choice)
        counts, origin = np.full(len(have), choice.per_class), {"per_class": choice.per_class, **origin}
    elif choice.fraction < 1:
        counts, origin = np.maximum(np.rint(choice.fraction * have), 1), {"fraction": choice.fraction}
    elif choice.after:
        counts = left
    else:
        return part
    rank = keyed_rank(source.uids(part.rows), group, seed) - choice.after
    keep = (rank >= 0) & (rank < counts[group])
    return part._replace(rows=part.rows[keep], label=part.label[keep], origin=part.origin | origin | {"seed": seed})


def _check_enough(source: Source, part: Part, left: np.ndarray, choice: SubsetOptions) -> None:
    """UserError when a class has too few images; left [1 + C]: those not left out, the unlabeled first."""
    names, left = (part.classes, left[1:]) if part.classes else (("unlabeled",), left)
    short, count = np.flatnonzero(left < choice.per_class), choice.per_class
    if len(short):
        c = int(short[0])
        rest = f" besides the {choice.after} of --after" * bool(choice.after)
        raise UserError(
            f"--per-class {count}: class {names[c]} has {plural(int(left[c]), 'image')}{rest} ({len(short)} of "
            f"{len(names)} classes have fewer than {count}) in {source.name}: take fewer, or all "
            "of those with --allow-missing"
        )
