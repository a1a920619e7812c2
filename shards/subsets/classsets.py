"""Class sets: some of the classes, with labels from 0."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import UserError, plural
from ..info import JSON
from ..lists import check_known, class_names, read, shown
from ..manifest import Manifest
from .fetch import class_listing
from .published import CLASSSETS

SEED = 2020  # of the published shuffle


def class_set(name: str, classes: tuple[str, ...], lists: Path | None, *, compute: bool) -> tuple[list[str], JSON]:
    """The class names of a set, a file or one of the published four, and their origin for dataset.json.

    `compute` derives a published set from all `classes` instead of reading its list."""
    check_known("class set", name, CLASSSETS)
    if name not in CLASSSETS:
        text, sha256 = read(Path(name))
        return class_names(text, Path(name).name), {"from": "list", "file": Path(name).name, "sha256": sha256}
    if compute:
        return computed(name, classes), {"name": name, "from": "draw"}
    names, sha256 = class_listing(name, lists)
    return names, {"name": name, "from": "list", "file": CLASSSETS[name].file, "sha256": sha256}


def computed(name: str, classes: tuple[str, ...]) -> list[str]:
    """A published class set by its rule: the first half of the sorted or shuffled classes, `_comp` the other half."""
    order = sorted(classes)
    if name.startswith("clsset2"):
        random.Random(SEED).shuffle(order)
    half = len(order) // 2
    return sorted(order[half:] if name.endswith("_comp") else order[:half])


def only(data: Manifest, name: str) -> Manifest:
    """The samples of a class set (a file or one of the published four) over the files of `data`, labels from 0."""
    if not data.info.classes:
        raise UserError(f"{data.root} has no classes to choose from: leave out --class-subset")
    data.check_labels()
    names, _ = class_set(name, data.info.classes, None, compute=True)
    label, classes = remap(data.label, data.info.classes, names, name)
    rows = np.flatnonzero(label >= 0)
    part = data.take(rows, label[rows], classes)
    return replace(part, info=replace(part.info, name=f"{data.info.name}-{Path(name).stem}"))


def remap(
    label: np.ndarray, classes: tuple[str, ...], names: list[str], where: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """(labels [N] among the sorted `names`, -1 for images of other classes; the sorted names).

    UserError about `where`, the origin of the names, for a name that is not among `classes`.
    """
    unknown = sorted(set(names) - set(classes))
    if unknown:
        remedy = "--draw-subset computes it from these" if where in CLASSSETS else "name classes of the source"
        raise UserError(
            f"{where} names {plural(len(unknown), 'class')} not among the {len(classes)} here "
            f"({', '.join(classes[:3])}, ...): {shown(unknown)}; {remedy}"
        )
    kept = tuple(sorted(names))
    number = {name: c for c, name in enumerate(kept)}
    table = np.array([*(number.get(name, -1) for name in classes), -1], np.int32)  # the last is for label -1
    return table[label], kept
