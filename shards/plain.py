"""Class folders of images as a data set, without a build: what `--keep` would store, known from the files' headers.

Row i is row i of a build of the same folder, and keys, uids and labels are the same too, so a run sees the same batches
from either. Its identity is of the files' names, sizes and times. The price: every start looks at every file, so a set
that is used often is better built.
"""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import numpy as np

from .building.build import BuildOptions
from .encoding.encode import Encoding, encode
from .encoding.headers import Damaged
from .engine import threaded
from .errors import UserError, command
from .identity import identity_of
from .info import JSON
from .keyed import shuffled
from .manifest import Manifest
from .memory import in_memory
from .sources.detect import kind_of, open_source
from .sources.local import Local
from .sources.passed import PassedOver, sentences
from .sources.readers import Files
from .sources.source import key_of
from .unpack import MAX_PIXELS

LOG = logging.getLogger(__name__)

KEPT = Encoding(keep=True, max_side=0, short_side=0, quality=BuildOptions.quality, check="headers")
KINDS = ("imagefolder", "flat")
HEAD = 1 << 14  # bytes: what most images' headers fit in


@dataclass(frozen=True)
class Plain(Manifest):
    """A manifest in memory; `root` is the folder that the `source` column's paths begin in."""

    odd: np.ndarray = field(kw_only=True)  # [N] bool: no plain upright JPEG, but `encode(data, KEPT)` makes it one

    def take(self, rows: np.ndarray, label: np.ndarray, classes: tuple[str, ...]) -> Self:
        return replace(super().take(rows, label, classes), odd=self.odd[rows])


class Look(NamedTuple):
    """What is known of an image before it is used."""

    height: int  # px, upright
    width: int
    bytes: int  # size of the JPEG that is used
    odd: bool
    kinds: tuple[str, ...]  # what has to be normalized
    suspect: str  # a decoder's complaint


def plain(root: str | os.PathLike[str], split: str = "train", max_pixels: int = MAX_PIXELS) -> Plain:
    """Describe the images of `root/split/<class>/` (or `root/<class>/`, or unlabeled ones in `root`); writes nothing.

    UserError when there are no images, or for the first one that is damaged or has more than `max_pixels`.
    """
    where = os.fspath(root)
    kind = "remote" if "://" in where else kind_of(where, split)
    if kind not in KINDS:
        raise UserError(
            f"{where} is a {kind} source, but images are read directly only from local folders: "
            f"`{command('python tools/build_shards.py', '--source', where)}` makes a set of it"
        )
    source = open_source(where, split, kind)
    if os.environ.get("RANK", "0") == "0":
        for sentence in sentences(source.passed.report()):
            LOG.warning(f"note: {where}: passed over {sentence}")
    assert isinstance(source.reader, Files)
    assert isinstance(source.reader.storage, Local)
    files = source.reader.storage
    order = shuffled(source.uids(np.arange(len(source))), BuildOptions.seed, "storage")
    paths = [source.paths[row] for row in order.tolist()]
    places = [str(source.places[row]) for row in order.tolist()]
    looks, stamps = zip(*threaded(lambda path: (look(files, path, max_pixels), files.stamp(path)), places), strict=True)
    described = in_memory(
        f"{source.name}-plain-{source.split}",
        list(map(key_of, paths)),
        source.label[order],
        np.array([(one.height, one.width) for one in looks]),
        source.classes,
        split=source.split,
        bytes=np.array([one.bytes for one in looks]),
        source=places,
        root=files.root,
    )
    info = replace(
        described.info,
        subset={"name": "full", "from": "source", "split": source.split},
        encoding={"quality": KEPT.quality, "keep": True, "check": KEPT.check},
        report=_report(paths, looks, source.passed),
        identity=identity_of(source.classes, described.uid, described.label, np.array(stamps, "<i8")),
    )
    return Plain(
        **{**vars(described), "info": info, "max_pixels": max_pixels}, odd=np.array([one.odd for one in looks], bool)
    )


def look(files: Local, path: str, max_pixels: int = MAX_PIXELS) -> Look:
    """Examine an image as a build does; UserError names a damaged one.

    Reads the first 16 KB and the end marker of a plain JPEG, and all of any other file.
    """
    try:
        encoding = replace(KEPT, max_pixels=max_pixels)
        return _at_ends(files, path, encoding) or _at_all(files.read(path), encoding)
    except (Damaged, OSError, ValueError, MemoryError) as error:
        raise damaged(files, path, error) from error


def damaged(files: Local, path: str, error: Exception) -> UserError:
    """The UserError for a file that gives no image."""
    cause = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    return UserError(
        f"{files.show(path)} is damaged: {cause}; mend or remove it, or build a set without it "
        "(`python tools/build_shards.py --on-error skip ...`)"
    )


def _at_ends(files: Local, path: str, encoding: Encoding) -> Look | None:
    """What the ends of a file show; None unless the file would be kept as it is."""
    with files.open(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= HEAD:
            return None
        ends = os.pread(file.fileno(), HEAD, 0) + os.pread(file.fileno(), 2, size - 2)
    try:
        found = _at_all(ends, encoding)
    except Damaged:  # longer headers or another format: the whole file has to be read
        return None
    return None if found.odd else found._replace(bytes=size)


def _at_all(data: bytes, encoding: Encoding) -> Look:
    stored = encode(data, encoding)
    odd = stored.jpeg != data
    return Look(stored.height, stored.width, len(stored.jpeg), odd, stored.kinds, stored.suspect)


def _report(paths: list[str], looks: Sequence[Look], passed: PassedOver) -> JSON:
    """The report that a build with `--keep` would write."""
    kinds = Counter(kind for one in looks for kind in one.kinds)
    suspects = [(path, one.suspect) for path, one in zip(paths, looks, strict=True) if one.suspect]
    report: JSON = {
        "check": KEPT.check,
        "normalised": dict(sorted(kinds.items())),
        "suspect": [{"source": path, "cause": cause} for path, cause in suspects],
        "skipped": [],
    }
    return report | ({"passed_over": passed.report()} if passed else {})
