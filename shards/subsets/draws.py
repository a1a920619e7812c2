"""Drawn sets: in each class the first images of one keyed order, so that a larger count holds every smaller one."""

import re
import sys
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..info import JSON
from ..keyed import keys, shuffled
from ..manifest import uid_of
from ..sources.source import Source
from .published import CLASSES, PUBLISHED, held, listing, named

TABLE = Path(__file__).with_name("imagenet_lt.csv")  # per-class counts: lt2-lt8 of the lists, and lt from these
SAME = {"lt0": 115, "100kp": 116, "lt-val": 20}  # images of each ImageNet class
PARETO_POWER = 6  # ImageNet-LT's long tail
NOTE = "the drawn lt has 115,845 images, the published list 115,846: its counts are reconstructed"


def drawn(source: Source, name: str, imbalance: float, lists: Path | None, seed: int) -> tuple[np.ndarray, JSON]:
    """Positions of a set with the shape of `name`, and where its counts come from."""
    origin: JSON = {"name": name, "from": "draw", "seed": seed}
    if name == "lt-test":
        raise UserError("lt-test cannot be drawn: it is the whole validation split, take --subset full --split val")
    if len(source.classes) == CLASSES and all(re.fullmatch(r"n\d{8}", c) for c in source.classes):
        rows, more = _imagenet(source, name, lists, seed)
        return rows, origin | more
    exponent = PUBLISHED[name].exponent
    if exponent is None:
        raise UserError(
            f"{name} is drawn from ImageNet's {CLASSES} classes alone, {source.name} has {len(source.classes)}: "
            f"{'build its validation split' if name == 'lt-val' else 'lt0 draws as many of each class from any source'}"
        )
    rows = np.flatnonzero(source.label >= 0)
    label = source.label[rows]
    have = np.bincount(label, minlength=len(source.classes))
    counts = drawn_counts(have, exponent, order=_class_order(source.classes, seed), imbalance=imbalance)
    rows = rows[places(source.uids(rows), label, seed) < counts[label]]
    return rows, origin | {"counts": "pareto", "exponent": exponent, "imbalance": imbalance}


def places(uid: np.ndarray, group: np.ndarray, seed: int) -> np.ndarray:
    """[N] int64 place of each image in its group's keyed order: the one order that every draw goes by."""
    order = np.lexsort((keys(uid, seed, "draw"), group))  # by group, then by key
    sizes = np.bincount(group)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[group[order]]
    return place


def _imagenet(source: Source, name: str, lists: Path | None, seed: int) -> tuple[np.ndarray, JSON]:
    """ImageNet's counts by class, from what is not in lt-val."""
    rows, aside, origin = _without_val(source, np.flatnonzero(source.label >= 0), lists)
    if name == "lt-val":
        if not aside:  # ours would overlap with the sets drawn beside theirs
            raise UserError(
                f"drawn sets leave out the images of {PUBLISHED[name].file}, which the folder of lists has: "
                "build lt-val by that list too, without --draw-subset"
            )
        aside, origin = 0, {}
    if name == "lt":
        print(f"note: {NOTE}", file=sys.stderr)
        origin["note"] = NOTE
    counts, label = _table(name), source.label[rows]
    have = np.bincount(label, minlength=CLASSES) - aside
    short = np.flatnonzero(have < counts)
    if len(short):
        c = int(short[0])
        raise UserError(
            f"{name} takes {counts[c]} images of class {source.classes[c]}, {source.name} has {max(0, have[c])}"
            f"{' beside those of lt-val' if origin else ''} ({len(short)} classes are short): complete the source"
        )
    place = places(source.uids(rows), label, seed)
    rows = rows[(place >= aside) & (place < aside + counts[label])]
    return rows, {"counts": SAME.get(name, TABLE.name), **origin}


def _table(name: str) -> np.ndarray:
    """[1000] images of each ImageNet class."""
    if name in SAME:
        return np.full(CLASSES, SAME[name])
    columns = TABLE.read_text().split("\n", 1)[0].split(",")
    return np.loadtxt(TABLE, np.int64, delimiter=",", skiprows=1)[:, columns.index(name)]


def _without_val(source: Source, rows: np.ndarray, lists: Path | None) -> tuple[np.ndarray, int, JSON]:
    """Rows without the published lt-val where that list is at hand; otherwise each class's first 20 are lt-val."""
    folder = named(lists)
    if folder is None or held(PUBLISHED["lt-val"], folder) is None:
        return rows, SAME["lt-val"], {"held_out": {"from": "draw", "per_class": SAME["lt-val"]}}
    wanted = listing("lt-val", folder, source)
    theirs = set(wanted.paths)
    mine = [source.paths[row] not in theirs for row in rows]
    return rows[mine], 0, {"held_out": {"from": "list", "file": wanted.file, "sha256": wanted.sha256}}


def _class_order(classes: tuple[str, ...], seed: int) -> np.ndarray:
    """Which class is the head, which the tail: keyed, so that it is not the alphabet."""
    return shuffled(np.array([uid_of(name) for name in classes], np.uint64), seed, "classes")


def drawn_counts(have: np.ndarray, exponent: float, *, order: np.ndarray, imbalance: float) -> np.ndarray:
    """[C] int64 images to take of classes that have `have` [C]: a long tail n, its head the class `order[0]`,
    flattened to round(n^exponent * mean(n) / mean(n^exponent)), at least 1 and at most what is there.

    n falls from the largest class's size to 1 / `imbalance` of it along a Pareto curve over the classes' ranks, as in
    ImageNet-LT; the flattening is that of the published LT2-LT8 lists.
    """
    q = np.arange(1, len(have) + 1) / len(have)
    curve = q ** (-1 / PARETO_POWER) - 1
    share = curve / curve[0] if len(have) > 1 else np.ones(1)  # 1 at the head, 0 at the tail
    most = float(have.max())
    least = max(1.0, most / imbalance)
    tail = least + (most - least) * share
    counts = np.empty(len(have), np.int64)
    counts[order] = np.maximum(flattened(tail, exponent), 1)
    return np.minimum(counts, have)


def flattened(counts: np.ndarray, exponent: float) -> np.ndarray:
    """[C] int64: a long tail between its own shape (exponent 1) and all classes alike (0), of about the same size."""
    flat = counts.astype(np.float64) ** exponent
    return np.rint(flat * counts.mean() / flat.mean()).astype(np.int64)
