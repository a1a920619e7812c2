"""Labels as other programs write them: under which names, as numbers or as words."""

import itertools
import logging
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import UserError
from ..redaction import redacted
from .classes import MAX_CLASSES, numbered

LOG = logging.getLogger(__name__)

LABELS = (  # names of a column, member or field that holds labels; the first that is there
    "label",
    "labels",
    "fine_label",
    "cls",
    "class",
    "target",
    "class_id",
    "class_idx",
    "class_label",
    "label_id",
    "category",
    "category_id",
)
ALIKE = re.compile(r"label|class|target|categor|(?:^|_)cls(?:_|$)", re.IGNORECASE)
Label = int | str | None


def label_name(names: Iterable[str]) -> str | None:
    """The name among `names` that says label, in whatever case; None without one."""
    by_lower = {name.lower(): name for name in reversed(list(names))}
    return next((by_lower[name] for name in LABELS if name in by_lower), None)


def label_of(value: Any) -> Label:
    """The label in a value of a table or a .json; None for none; ValueError for a value that is no label."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        return sys.intern(value) if value.strip() else None
    if value is None or type(value) is int:
        if value is not None and not -1 <= value < MAX_CLASSES:
            raise ValueError(f"{value} is no class")
        return value
    raise ValueError(f"{str(value)[:40]!r} is neither a whole number nor the name of a class")


def numbered_labels(labels: Sequence[Label], where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels [N] -> numbers [N] int64, -1 = none, and the sorted class names when the labels are names, else ().

    Names that are all numbers in digits are numbers. UserError for numbers among names."""
    names = {label for label in labels if isinstance(label, str)}
    if names and any(type(label) is int for label in labels):
        number = next(label for label in labels if type(label) is int)
        raise UserError(f"{where} has labels that are numbers ({number}) and names ({min(names)}): make them one kind")
    if all(name.isdecimal() and str(int(name)) == name and int(name) < MAX_CLASSES for name in names):
        return np.array([-1 if label is None else int(label) for label in labels], np.int64), ()
    classes, found = numbered([label for label in labels if isinstance(label, str)])
    label = np.full(len(labels), -1, np.int64)
    label[[label is not None for label in labels]] = found
    return label, classes


def labels_by_folder(folders: list[str], where: str) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """Labels [N] and classes by the folders of their names, as far up as they differ, with a note; None when these look
    like no classes: one folder, one per image, or images beside folders."""
    parts = [folder.split("/") for folder in folders]
    shared = sum(1 for _ in itertools.takewhile(lambda level: len(set(level)) == 1, zip(*parts, strict=False)))
    names = [part[shared] if len(part) > shared else "" for part in parts]
    if not all(names) or not 1 < len(set(names)) < len(names):
        return None
    classes, label = numbered(names)
    shown = ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
    LOG.warning(
        f"note: no image in {redacted(where)} has a label: the {len(classes):,} folders of their names are taken for "
        f"classes ({shown}), --label-column none leaves them out"
    )
    return label, classes
