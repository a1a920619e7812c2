"""Which images of a source go in, and under which labels: all, a list's, a drawn set's, some classes', a share."""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from ..info import JSON
from ..lists import known, parse, read
from ..sources.source import Source
from .classsets import class_set, remap
from .draws import drawn, places
from .lists import Listing, find
from .options import SubsetOptions, check
from .published import CLASSSETS, PUBLISHED, listing
from .release import by_class, release

IMAGENET_TRAIN = 1_281_167  # images


class Part(NamedTuple):
    """The images to store, in the source's order, and how they are labeled."""

    rows: np.ndarray  # [N] int64 positions in the source, ascending
    label: np.ndarray  # [N] int32 as stored; -1 = unlabeled
    classes: tuple[str, ...]
    origin: JSON  # for dataset.json
    missing: list[str]  # what a list names in vain


def split_of(subset: str, split: str | None) -> tuple[str, str]:
    """(the split to read from the source, the split that the set is for), which differ for lt-val alone."""
    known("subset", subset, ["full", *PUBLISHED, *CLASSSETS])
    if subset not in PUBLISHED:
        return split or "train", split or "train"
    reads, makes = PUBLISHED[subset].split
    if split not in (None, reads, makes):
        raise UserError(
            f"--subset {subset} is a part of the {reads} split: use --split {reads}, or --subset full for {split}"
        )
    return reads, makes


def subset(source: Source, choice: SubsetOptions, seed: int) -> Part:
    """The chosen part of a source; UserError when the source cannot give it."""
    check(choice)
    name = choice.subset
    if split_of(name, source.split)[0] != source.split:
        raise UserError(f"--subset {name} is made of training images: leave out --split")
    if not source.classes and (name in PUBLISHED or name in CLASSSETS):
        raise UserError(f"{source.name} has no classes to take {name} by: use --subset full or a list FILE, --fraction")
    part = _named(source, choice, seed)
    if name in CLASSSETS:
        part = _classes(source, part, name, choice)
    if choice.classes:
        part = _classes(source, part, choice.classes, choice)
    part = _share(source, part, choice, seed)
    if not len(part.rows):
        raise UserError(f"of {source.name} nothing is left: look at --subset, --classes and --split")
    return part


def _named(source: Source, choice: SubsetOptions, seed: int) -> Part:
    """The part that --subset names, with the source's labels unless a list brings its own."""
    name, draw = choice.subset, choice.draw_subset
    if name == "full" or name in CLASSSETS:
        return _with_labels(source, np.arange(len(source)), {"name": name, "from": "source"}, [])
    if name not in PUBLISHED:
        return _file(source, Path(name), allow_missing=choice.allow_missing)
    if draw == "release":
        return _released(source, choice)
    if draw:
        return _with_labels(source, *drawn(source, name, choice.imbalance, choice.lists, seed), [])
    wanted = listing(name, choice.lists, source)
    found = find(source, wanted, allow_missing=choice.allow_missing)
    origin = {"name": name, "from": "list", "file": wanted.file, "sha256": wanted.sha256}
    return _with_labels(source, found.rows, origin, found.missing)


def _with_labels(source: Source, rows: np.ndarray, origin: JSON, missing: list[str]) -> Part:
    return Part(rows, source.label[rows].astype(np.int32), source.classes, origin, missing)


def _file(source: Source, path: Path, *, allow_missing: bool) -> Part:
    """A list of the user's own; where its labels are not the source's, they stand, and their numbers are the names."""
    text, sha256 = read(path)
    wanted = Listing(path.name, *parse(text, path.name), sha256)
    found = find(source, wanted, allow_missing=allow_missing)
    name = path.name.removesuffix(".gz").removesuffix(".txt")
    origin: JSON = {"name": name, "from": "list", "file": path.name, "sha256": sha256, "labels": "source"}
    part = _with_labels(source, found.rows, origin, found.missing)
    label = wanted.label[found.line]
    if wanted.label[0] < 0 or np.array_equal(label, part.label):
        return part
    origin["labels"] = "list"
    return part._replace(label=label, classes=tuple(map(str, range(int(wanted.label.max()) + 1))))


def _released(source: Source, choice: SubsetOptions) -> Part:
    """The published draw; it needs the long-tailed list and lt-val's, and all of ImageNet for the published result."""
    tail, val = (listing(name, choice.lists, source) for name in ("lt", "lt-val"))
    kept, found = (find(source, wanted, allow_missing=choice.allow_missing) for wanted in (val, tail))
    pool = np.delete(np.arange(len(source)), kept.rows)
    rows = found.rows[np.argsort(found.line)]  # in the list's order, which the draw depends on
    number = len(source.classes)
    split = (by_class(some, source.label[some], number) for some in (pool, rows))
    made = sorted(row for some in release(choice.subset, *split) for row in some)
    origin: JSON = {"name": choice.subset, "from": "release", "pool": len(pool)}
    origin["lists"] = [{"file": one.file, "sha256": one.sha256} for one in (tail, val)]
    if len(source) != IMAGENET_TRAIN:
        origin["note"] = f"drawn from {len(source):,} images, not {IMAGENET_TRAIN:,}: the published lists differ"
        print(f"note: {origin['note']}", file=sys.stderr)
    return _with_labels(source, np.array(made, np.int64), origin, sorted({*kept.missing, *found.missing}))


def _classes(source: Source, part: Part, name: str, choice: SubsetOptions) -> Part:
    """The images of a class set, numbered anew."""
    if not part.classes:
        raise UserError(f"{source.name} has no classes to choose from: leave out --classes")
    names, origin = class_set(name, source.classes, choice.lists, compute=bool(choice.draw_subset))
    label, classes = remap(part.label, part.classes, names, name)
    keep = label >= 0
    return Part(part.rows[keep], label[keep], classes, part.origin | {"classes": origin}, part.missing)


def _share(source: Source, part: Part, choice: SubsetOptions, seed: int) -> Part:
    """The first of each class in keyed order: a fraction, at least one, or a number."""
    group = part.label + 1  # the unlabeled are one
    have = np.bincount(group, minlength=len(part.classes) + 1)
    if choice.per_class:
        if not choice.allow_missing:
            _enough(source, part, have, choice.per_class)
        take, said = np.full(len(have), choice.per_class), {"per_class": choice.per_class}
    elif choice.fraction < 1:
        take, said = np.maximum(np.rint(choice.fraction * have), 1), {"fraction": choice.fraction}
    else:
        return part
    keep = places(source.uids(part.rows), group, seed) < take[group]
    return part._replace(rows=part.rows[keep], label=part.label[keep], origin=part.origin | said | {"seed": seed})


def _enough(source: Source, part: Part, have: np.ndarray, count: int) -> None:
    names, have = (part.classes, have[1:]) if part.classes else (("unlabeled",), have)
    short = np.flatnonzero(have < count)
    if len(short):
        c = short[0]
        raise UserError(
            f"--per-class {count}: class {names[c]} has {have[c]} images ({len(short)} of {len(names)} classes have "
            f"fewer than {count}) in {source.name}: take fewer, or what there is with --allow-missing"
        )
