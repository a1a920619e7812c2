"""Which pictures of a source go in: all, a published list, or a drawn set of the same shape."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from .errors import UserError, choose
from .keyed import keys, shuffled
from .lists import PUBLISHED, Listing, listing
from .manifest import JSON, uid_of
from .source import Source

IMAGENET_CLASSES = 1000
TABLE = Path(__file__).with_name(
    "imagenet_lt.csv"
)  # per-class counts: lt2-lt8 of the lists, lt reconstructed from them
PARETO_POWER = 6  # ImageNet-LT's long tail
IMBALANCE = 256  # head over tail: ImageNet-LT's 1280 / 5
SHOWN = 20  # names in a message


class Subset(NamedTuple):
    """Chosen positions in a source, where the choice came from, and which files a list named in vain."""

    chosen: np.ndarray  # [N] int64
    origin: JSON
    missing: list[str]


def subset(
    source: Source, name: str, split: str, *, draw: bool, lists: Path | None, allow_missing: bool, seed: int
) -> Subset:
    """The part `name` of a source; UserError when the source cannot give it."""
    choose("subset", name, ["full", *PUBLISHED])
    if name == "full":
        if draw:
            raise UserError("--draw-subset draws a part of the source: name its shape, as in --subset lt6")
        return Subset(np.arange(len(source)), {"name": "full", "from": "source"}, [])
    if split != "train":
        raise UserError(
            f"--subset {name} is a part of the train split: use --split train, or --subset full for {split}"
        )
    if draw:
        return _drawn(source, name, seed)
    if len(source.classes) != IMAGENET_CLASSES:  # said before anything is fetched
        raise _foreign(source, name)
    return _listed(source, name, listing(name, lists), allow_missing)


def _foreign(source: Source, name: str) -> UserError:
    return UserError(
        f"--subset {name} is a list of ImageNet's {IMAGENET_CLASSES} classes, {source.name} has {len(source.classes)} "
        f"({', '.join(source.classes[:3])}, ...): --draw-subset draws the same shape from these"
    )


def _listed(source: Source, name: str, wanted: Listing, allow_missing: bool) -> Subset:
    if any(source.classes[c] != p.partition("/")[0] for p, c in zip(wanted.paths, wanted.label.tolist(), strict=True)):
        raise _foreign(source, name)
    names = set(wanted.paths)
    chosen = [i for i, path in enumerate(source.paths) if path in names]
    missing = sorted(names.difference(source.paths[i] for i in chosen))
    if missing and not (allow_missing and chosen):
        raise UserError(
            f"{source.name} lacks {len(missing)} of the {len(names)} files of {PUBLISHED[name].file}: "
            f"{', '.join(missing[:SHOWN])}{', ...' if len(missing) > SHOWN else ''}; "
            "complete the source, or go on without them: --allow-missing"
        )
    origin = {"name": name, "from": "list", "file": PUBLISHED[name].file, "sha256": wanted.sha256}
    return Subset(np.array(chosen, np.int64), origin, missing)


def _drawn(source: Source, name: str, seed: int) -> Subset:
    """In each class the first pictures of one keyed order, so that a smaller count is a part of a larger one."""
    have = np.bincount(source.label, minlength=len(source.classes))
    origin: JSON = {"name": name, "from": "draw", "seed": seed}
    if len(have) == IMAGENET_CLASSES:
        counts = _imagenet_counts(source, name, have)
        origin |= {"counts": TABLE.name}
    else:
        exponent = PUBLISHED[name].exponent
        counts = drawn_counts(have, exponent, order=_class_order(source.classes, seed))
        origin |= {"counts": "pareto", "exponent": exponent, "imbalance": IMBALANCE}
    uid = source.uids(np.arange(len(source)))
    order = np.lexsort((keys(uid, seed, "draw"), source.label))  # by class, then by key
    place = np.arange(len(order)) - (np.cumsum(have) - have)[source.label[order]]  # within its class
    return Subset(np.sort(order[place < counts[source.label[order]]]), origin, [])


def _imagenet_counts(source: Source, name: str, have: np.ndarray) -> np.ndarray:
    columns = TABLE.read_text().split("\n", 1)[0].split(",")
    counts = np.loadtxt(TABLE, np.int64, delimiter=",", skiprows=1)[:, columns.index(name)]
    short = np.flatnonzero(have < counts)
    if len(short):
        c = int(short[0])
        raise UserError(
            f"{name} takes {counts[c]} pictures of class {source.classes[c]}, {source.name} has {have[c]} "
            f"({len(short)} classes are short): complete the source"
        )
    return counts


def _class_order(classes: tuple[str, ...], seed: int) -> np.ndarray:
    """Which class is the head, which the tail: keyed, so that it is not the alphabet."""
    return shuffled(np.array([uid_of(name) for name in classes], np.uint64), seed, "classes")


def drawn_counts(have: np.ndarray, exponent: float, *, order: np.ndarray, imbalance: float = IMBALANCE) -> np.ndarray:
    """[C] int64 pictures to take of classes that have `have` [C]: a long tail n, its head the class `order[0]`,
    flattened to round(n^exponent * mean(n) / mean(n^exponent)), at least 1 and at most what is there.

    n falls from the largest class's size to 1 / `imbalance` of it along a Pareto curve over the classes' ranks, as in
    ImageNet-LT; the flattening is that of the published LT2-LT8 lists (BalFeat, data/gen_data.py).
    """
    q = np.arange(1, len(have) + 1) / len(have)
    curve = q ** (-1 / PARETO_POWER) - 1
    share = curve / curve[0] if len(have) > 1 else np.ones(1)  # 1 at the head, 0 at the tail
    most = float(have.max())
    least = max(1.0, most / imbalance)
    tail = least + (most - least) * share
    flat = tail**exponent
    counts = np.empty(len(have), np.int64)
    counts[order] = np.rint(flat * tail.mean() / flat.mean())
    return np.minimum(np.maximum(counts, 1), have)
