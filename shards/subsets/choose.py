"""The part of a source that the options choose: all, a list, a drawn set, some classes, a share of each class."""

import logging
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..info import JSON
from ..lists import check_known, parse, read
from ..sources.source import Source
from .draws import IMBALANCE, drawn
from .fetch import listing
from .lists import Listing, find
from .options import NAMED, SubsetOptions, check
from .part import Part, check_whole, labeled_part, share, tail, with_classes
from .published import CLASSSETS, PUBLISHED
from .release import by_class, release
from .tails import TAILS, WHOLE

LOG = logging.getLogger(__name__)

IMAGENET_TRAIN = 1_281_167  # images
OF_CLASSES = (*PUBLISHED, *CLASSSETS, *TAILS, *WHOLE)  # subsets that only a labeled source has
OF_TRAINING = (*TAILS, *WHOLE)


def split_of(subset: str, split: str | None) -> tuple[str, str]:
    """(the split to read from the source, the split that the set is for); they differ only for lt-val."""
    check_known("subset", subset, NAMED)
    if subset in OF_TRAINING and split not in (None, "train"):
        raise UserError(f"--subset {subset} is made of training images: use --subset full for {split}")
    if subset not in PUBLISHED:
        return split or "train", split or "train"
    reads, makes = PUBLISHED[subset].split
    if split not in (None, reads, makes):
        raise UserError(
            f"--subset {subset} is a part of the {reads} split: use --split {reads}, or --subset full for {split}"
        )
    return reads, makes


def subset(source: Source, choice: SubsetOptions, seed: int) -> Part:
    """The chosen part of a source; UserError for wrong options, or when the source lacks images or classes for it."""
    check(choice)
    name = choice.subset
    if split_of(name, source.split)[0] != source.split:
        raise UserError(f"--subset {name} is made of training images: leave out --split")
    if not source.classes and (name in OF_CLASSES):
        raise UserError(f"{source.name} has no classes to take {name} by: use --subset full or a list FILE, --fraction")
    part = _named(source, choice, seed)
    if name in CLASSSETS:
        part = with_classes(source, part, name, choice)
    if choice.classes:
        part = with_classes(source, part, choice.classes, choice)
    if name in TAILS:
        part = tail(source, part, name, choice.imbalance, seed)
    part = share(source, part, choice, seed)
    if not len(part.rows):
        raise UserError(f"no images of {source.name} are left: check --subset, --classes and --split")
    return part


def _named(source: Source, choice: SubsetOptions, seed: int) -> Part:
    """The part that --subset names, with the source's labels unless a list has its own."""
    name, draw = choice.subset, choice.draw_subset
    if name in WHOLE:
        check_whole(source, name)
    if name == "full" or name in (*CLASSSETS, *TAILS, *WHOLE):
        return labeled_part(source, np.arange(len(source)), {"name": name, "from": "source"}, [])
    if name not in PUBLISHED:
        return _from_file(source, Path(name), allow_missing=choice.allow_missing)
    if draw == "release":
        return _released(source, choice)
    if draw:
        return labeled_part(source, *drawn(source, name, choice.imbalance or IMBALANCE, choice.lists, seed), [])
    listed = listing(name, choice.lists, source)
    found = find(source, listed, allow_missing=choice.allow_missing)
    origin = {"name": name, "from": "list", "file": listed.file, "sha256": listed.sha256}
    return labeled_part(source, found.rows, origin, found.missing)


def _from_file(source: Source, path: Path, *, allow_missing: bool) -> Part:
    """The images of the user's own list. Labels that differ from those of the source are kept and name the classes."""
    text, sha256 = read(path)
    listed = Listing(path.name, *parse(text, path.name), sha256)
    found = find(source, listed, allow_missing=allow_missing)
    name = path.name.removesuffix(".gz").removesuffix(".txt")
    origin: JSON = {"name": name, "from": "list", "file": path.name, "sha256": sha256, "labels": "source"}
    part = labeled_part(source, found.rows, origin, found.missing)
    label = listed.label[found.line]
    if listed.label[0] < 0 or np.array_equal(label, part.label):
        return part
    origin["labels"] = "list"
    return part._replace(label=label, classes=tuple(map(str, range(int(listed.label.max()) + 1))))


def _released(source: Source, choice: SubsetOptions) -> Part:
    """The published draw, from the lists lt and lt-val; only the whole of ImageNet gives the published result."""
    tail, val = (listing(name, choice.lists, source) for name in ("lt", "lt-val"))
    in_val, in_tail = (find(source, listed, allow_missing=choice.allow_missing) for listed in (val, tail))
    pool = np.delete(np.arange(len(source)), in_val.rows)
    rows = in_tail.rows[np.argsort(in_tail.line)]  # in the list's order, which the draw depends on
    classes = (by_class(images, source.label[images], len(source.classes)) for images in (pool, rows))
    released = sorted(row for images in release(choice.subset, *classes) for row in images)
    origin: JSON = {"name": choice.subset, "from": "release", "pool": len(pool)}
    origin["lists"] = [{"file": listed.file, "sha256": listed.sha256} for listed in (tail, val)]
    if len(source) != IMAGENET_TRAIN:
        origin["note"] = f"drawn from {len(source):,} images, not {IMAGENET_TRAIN:,}: the published lists differ"
        LOG.warning(f"note: {origin['note']}")
    return labeled_part(source, np.array(released, np.int64), origin, sorted({*in_val.missing, *in_tail.missing}))
