"""Drawn sets: the first images of each class in one keyed order, so that a larger count contains every smaller one."""

import logging
import re
from pathlib import Path

import numpy as np

from ..errors import UserError, plural
from ..info import JSON
from ..keyed import keys, shuffled
from ..manifest import uid_of
from ..sources.source import Source
from .fetch import file_in, listing, lists_folder
from .published import CLASSES, PUBLISHED

LOG = logging.getLogger(__name__)

TABLE = Path(__file__).with_name("imagenet_lt.csv")  # images per class: lt2-lt8 from the lists, lt computed from these
UNIFORM = {"lt0": 115, "100kp": 116, "lt-val": 20}  # images of each ImageNet class
IMBALANCE = 256.0  # of ImageNet-LT, and of tails of other sources unless --imbalance names another
PARETO_POWER = 6  # ImageNet-LT's long tail
NOTE = "the drawn lt has 115,845 images, the published list 115,846: its counts are reconstructed"


def drawn(source: Source, name: str, imbalance: float, lists: Path | None, seed: int) -> tuple[np.ndarray, JSON]:
    """(positions in the source [n], ascending; origin for dataset.json) of a set with the shape of subset `name`.

    ImageNet gets the published counts per class, other sources the same kind of long tail."""
    origin: JSON = {"name": name, "from": "draw", "seed": seed}
    if name == "lt-test":
        raise UserError("lt-test cannot be drawn: it is the whole validation split, take --subset full --split val")
    if len(source.classes) == CLASSES and all(re.fullmatch(r"n\d{8}", c) for c in source.classes):
        rows, details = _imagenet(source, name, lists, seed)
        return rows, origin | details
    exponent = PUBLISHED[name].exponent
    if exponent is None:
        remedy = "build its validation split" if name == "lt-val" else "lt0 draws as many of each class from any source"
        raise UserError(
            f"{name} can be drawn only from ImageNet's {CLASSES} classes, {source.name} has {len(source.classes)}: "
            f"{remedy}"
        )
    rows = np.flatnonzero(source.label >= 0)
    label = source.label[rows]
    have = np.bincount(label, minlength=len(source.classes))
    counts = drawn_counts(have, exponent, order=class_order(source.classes, seed), imbalance=imbalance)
    rows = rows[keyed_rank(source.uids(rows), label, seed) < counts[label]]
    return rows, origin | {"counts": "pareto", "exponent": exponent, "imbalance": imbalance}


def keyed_rank(uid: np.ndarray, group: np.ndarray, seed: int) -> np.ndarray:
    """[N] int64: each image's rank, from 0, in the keyed order of its group. Every draw takes the lowest ranks."""
    order = np.lexsort((keys(uid, seed, "draw"), group))  # by group, then by key
    sizes = np.bincount(group)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[group[order]]
    return rank


def _imagenet(source: Source, name: str, lists: Path | None, seed: int) -> tuple[np.ndarray, JSON]:
    """(positions, details of the origin): the published counts per class, from images outside lt-val."""
    rows, held_out, origin = _without_val(source, np.flatnonzero(source.label >= 0), lists)
    if name == "lt-val":
        if not held_out:  # a drawn lt-val would overlap the sets that leave out the listed one
            raise UserError(
                f"drawn sets leave out the images of {PUBLISHED[name].file}, which the folder of lists has: "
                "build lt-val by that list too, without --draw-subset"
            )
        held_out, origin = 0, {}
    if name == "lt":
        LOG.warning(f"note: {NOTE}")
        origin["note"] = NOTE
    counts, label = _counts(name), source.label[rows]
    have = np.bincount(label, minlength=CLASSES) - held_out
    short = np.flatnonzero(have < counts)
    if len(short):
        c = int(short[0])
        raise UserError(
            f"{name} takes {plural(counts[c], 'image')} of class {source.classes[c]}, {source.name} has "
            f"{max(0, have[c])}{' outside lt-val' if origin else ''} (classes that are short: {len(short)}): "
            "complete the source"
        )
    rank = keyed_rank(source.uids(rows), label, seed)
    rows = rows[(rank >= held_out) & (rank < held_out + counts[label])]
    return rows, {"counts": UNIFORM.get(name, TABLE.name), **origin}


def _counts(name: str) -> np.ndarray:
    """[1000] int64 images of each ImageNet class in set `name`."""
    if name in UNIFORM:
        return np.full(CLASSES, UNIFORM[name])
    columns = TABLE.read_text().split("\n", 1)[0].split(",")
    return np.loadtxt(TABLE, np.int64, delimiter=",", skiprows=1)[:, columns.index(name)]


def _without_val(source: Source, rows: np.ndarray, lists: Path | None) -> tuple[np.ndarray, int, JSON]:
    """(rows, how many of the lowest ranks of each class to leave out, origin) so that lt-val stays out.

    If the folder of lists has lt-val, its images are removed from the rows; otherwise the 20 lowest ranks are lt-val.
    """
    folder = lists_folder(lists)
    if folder is None or file_in(folder, PUBLISHED["lt-val"]) is None:
        count = UNIFORM["lt-val"]
        return rows, count, {"held_out": {"from": "draw", "per_class": count}}
    val = listing("lt-val", folder, source)
    val_paths = set(val.paths)
    outside = [source.paths[row] not in val_paths for row in rows]
    return rows[outside], 0, {"held_out": {"from": "list", "file": val.file, "sha256": val.sha256}}


def class_order(classes: tuple[str, ...], seed: int) -> np.ndarray:
    """[C] int64: the classes from head to tail, in a keyed order, so that it is not the alphabet."""
    return shuffled(np.array([uid_of(name) for name in classes], np.uint64), seed, "classes")


def drawn_counts(have: np.ndarray, exponent: float, *, order: np.ndarray, imbalance: float) -> np.ndarray:
    """[C] int64 images to take of classes that have `have` [C] images; `order` [C] lists the classes from the head.

    The long tail n falls from the largest class's size to 1 / `imbalance` of it along a Pareto curve over the ranks of
    the classes, as in ImageNet-LT. It is flattened to round(n^exponent * mean(n) / mean(n^exponent)), as in the
    published LT2-LT8 lists, and limited to at least 1 and at most `have`.
    """
    q = np.arange(1, len(have) + 1) / len(have)
    curve = q ** (-1 / PARETO_POWER) - 1
    share = curve / curve[0] if len(have) > 1 else np.ones(1)  # 1 at the head, 0 at the tail
    largest = float(have.max())
    smallest = max(1.0, largest / imbalance)
    tail = smallest + (largest - smallest) * share
    counts = np.empty(len(have), np.int64)
    counts[order] = np.maximum(flattened(tail, exponent), 1)
    return np.minimum(counts, have)


def flattened(counts: np.ndarray, exponent: float) -> np.ndarray:
    """[C] int64 counts between a long tail's own shape (exponent 1) and a uniform one (0), of about the same sum."""
    flat = counts.astype(np.float64) ** exponent
    return np.rint(flat * counts.mean() / flat.mean()).astype(np.int64)
