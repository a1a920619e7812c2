"""Classes of a source: whether there are any, and their names."""

import logging
from collections.abc import Iterable, Sequence

import numpy as np

from ..errors import UserError, plural
from ..info import first_twice
from ..lists import shown

LOG = logging.getLogger(__name__)

MAX_CLASSES = 10_000_000  # a larger label is no class number
FEW, GAPS = 100_000, 10  # numbers name at most so many classes, or so many for each image


def labeled(label: np.ndarray, where: str) -> bool:
    """Whether the images have labels; UserError when only some do, or a label is too large. Negative = no label."""
    without = int((label < 0).sum())
    if 0 < without < len(label):
        raise UserError(f"{without} of {len(label)} images in {where} have no label: give all of them one, or none")
    if len(label) and label.max() >= MAX_CLASSES:
        raise UserError(f"{where} has a label {label.max()}: a label is the number of a class, from 0")
    return len(label) > without


def classes_of(
    label: np.ndarray, where: str, *folders: Iterable[str], listed: Sequence[str] = (), listed_in: str = ""
) -> tuple[str, ...]:
    """Class names in label order, () without labels; UserError for mixed or too large labels, or one without a name.

    They are `listed` if not empty (`listed_in`: the file, for the error), else the first of `folders`, each [N], that
    goes one to one with the labels, else numbers.
    """
    if not labeled(label, where):
        return ()
    if twice := first_twice(listed):
        raise UserError(f"{listed_in} of {where} names class {twice!r} twice: give each label a name of its own")
    by_folder = filter(None, (named_by(label, names) for names in folders))
    classes = tuple(listed) or next(by_folder, None) or _numbers(label, where)
    if label.max() >= len(classes):
        raise UserError(
            f"{where} has a label {label.max()}, {listed_in} names {plural(len(classes), 'class')}: correct one of them"
        )
    return classes


def _numbers(label: np.ndarray, where: str) -> tuple[str, ...]:
    """The classes 0, 1, ...; UserError for a label that would make far more of them than there are images."""
    if (largest := int(label.max())) >= max(FEW, GAPS * len(label)):
        raise UserError(
            f"{where} has a label {largest} among {len(label):,} images: a label is the number of a class, number "
            "them from 0"
        )
    return tuple(map(str, range(largest + 1)))


def named_by(label: np.ndarray, names: Iterable[str]) -> tuple[str, ...] | None:
    """Class names in label order if labels are 0, 1, ... and go one to one with the images' `names` [N], else None."""
    pairs = set(zip(label.tolist(), names, strict=True))
    found = dict(pairs)
    dense = found.keys() == set(range(len(found)))
    distinct = len(pairs) == len(found) == len(set(found.values()))
    return tuple(found[i] for i in range(len(found))) if dense and distinct and all(found.values()) else None


def numbered(names: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The sorted classes among the images' class names [N], and each image's label [N] int32."""
    classes = tuple(sorted(set(names)))
    number = {name: i for i, name in enumerate(classes)}
    return classes, np.array([number[name] for name in names], np.int32)


def matched(own: Sequence[str], known: Sequence[str], where: str) -> tuple[str, ...]:
    """Classes of the val split in label order: the `known` ones of train, then those that only val has, with a warning.

    Val's `own` alone when train has none of them, or is not there."""
    unknown = [name for name in own if name not in known]
    if not known or not unknown:
        return tuple(known or own)
    shared = len(unknown) < len(own)
    effect = "their labels follow those of train" if shared else "labels count the classes of val alone"
    LOG.warning(f"warning: {where} has classes that train lacks ({shown(unknown)}): {effect}")
    return (*known, *unknown) if shared else tuple(own)
