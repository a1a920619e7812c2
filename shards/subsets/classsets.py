"""Class sets: keep some classes and number them anew."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..info import JSON
from ..lists import class_names, known, read, shown
from ..manifest import Manifest
from .published import CLASSSETS, class_listing

SEED = 2020  # of the published shuffle


def class_set(name: str, classes: tuple[str, ...], lists: Path | None, *, compute: bool) -> tuple[list[str], JSON]:
    """The names of a class set, from a file or as one of the published four, and where they come from."""
    known("class set", name, CLASSSETS)
    if name not in CLASSSETS:
        text, sha256 = read(Path(name))
        return class_names(text, Path(name).name), {"from": "list", "file": Path(name).name, "sha256": sha256}
    if compute:
        return computed(name, classes), {"name": name, "from": "draw"}
    names, sha256 = class_listing(name, lists)
    return names, {"name": name, "from": "list", "file": CLASSSETS[name].file, "sha256": sha256}


def computed(name: str, classes: tuple[str, ...]) -> list[str]:
    """A published class set by its rule: the first half of the sorted or shuffled classes, `_comp` the rest."""
    order = sorted(classes)
    if name.startswith("clsset2"):
        random.Random(SEED).shuffle(order)
    half = len(order) // 2
    return sorted(order[half:] if name.endswith("_comp") else order[:half])


def only(data: Manifest, name: str) -> Manifest:
    """The samples of a class set, a file's or one of the published four, numbered anew, over the files of `data`."""
    if not data.info.classes:
        raise UserError(f"{data.root} has no classes to choose from: leave out --class-subset")
    names, _ = class_set(name, data.info.classes, None, compute=True)
    label, classes = remap(data.label, data.info.classes, names, name)
    rows = np.flatnonzero(label >= 0)
    part = data.take(rows, label[rows], classes)
    return replace(part, info=replace(part.info, name=f"{data.info.name}-{Path(name).stem}"))


def remap(
    label: np.ndarray, classes: tuple[str, ...], names: list[str], where: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """New labels [N], -1 for images of other classes; label = place among the sorted names. And these names."""
    foreign = sorted(set(names) - set(classes))
    if foreign:
        remedy = "--draw-subset computes it from these" if where in CLASSSETS else "name classes of the source"
        raise UserError(
            f"{where} names {len(foreign)} classes that are not among the {len(classes)} here "
            f"({', '.join(classes[:3])}, ...): {shown(foreign)}; {remedy}"
        )
    new = tuple(sorted(names))
    place = {name: c for c, name in enumerate(new)}
    table = np.array([*(place.get(name, -1) for name in classes), -1], np.int32)  # the last is for label -1
    return table[label], new
