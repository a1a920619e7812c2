"""Class folders of images as a data set, without a build: what `--keep` would store, known from the files' heads.

Row i is row i of a build of the same folder, keys, uids and labels too, so a run sees the same batches from either.
The price is a look at every file at each start: a set that is used often is better built.
"""

import os
from collections import Counter
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, NamedTuple, Self

import numpy as np

from .building.build import BuildOptions
from .encoding.encode import Damaged, Encoding, encode
from .engine import threaded
from .errors import UserError
from .keyed import shuffled
from .manifest import JSON, DatasetInfo, Manifest
from .sources.detect import kind_of, open_source
from .sources.local import Local
from .sources.readers import Files
from .sources.source import Source, key_of

KEPT = Encoding(keep=True, max_side=0, short_side=0, quality=BuildOptions.quality, check="headers")
KINDS = ("imagefolder", "flat")
HEAD = 1 << 14  # bytes: what most images' headers fit in


@dataclass(frozen=True)
class Plain(Manifest):
    """A manifest in memory; `root` is the folder that the `source` column's paths begin in."""

    text: dict[str, list[str]]  # key and source of all images in the folder
    odd: np.ndarray  # [N] bool: the file is no plain upright JPEG, `encode(data, KEPT)` makes it one

    def strings(self, column: str) -> list[Any]:
        """Column key or source; UserError for sha256, which would mean to read every file."""
        if column not in self.text:
            raise UserError(f"{self.root} was not built, so there is no {column} of its images: build a set of it")
        return [self.text[column][row] for row in self.rows.tolist()]

    def take(self, rows: np.ndarray, label: np.ndarray, classes: tuple[str, ...]) -> Self:
        return replace(super().take(rows, label, classes), odd=self.odd[rows])


class Look(NamedTuple):
    """What is known of an image before it is used."""

    height: int  # px, upright
    width: int
    bytes: int  # of the JPEG that is used
    odd: bool
    kinds: tuple[str, ...]  # what has to be normalized
    suspect: str  # a decoder's complaint


def plain(root: str | os.PathLike[str], split: str = "train") -> Plain:
    """The images of `root/split/<class>/` (or `root/<class>/`, or unlabeled ones in `root`), nothing written.
    UserError when there are none, or names the first that is damaged."""
    where = os.fspath(root)
    kind = "remote" if "://" in where else kind_of(where, split)
    if kind not in KINDS:
        raise UserError(
            f"{where} is a {kind} source, images are read straight from local folders alone: "
            f"`python tools/build_shards.py --source {where}` makes a set of it"
        )
    source = open_source(where, split, kind)
    assert isinstance(source.reader, Files)
    assert isinstance(source.reader.storage, Local)
    files = source.reader.storage
    order = shuffled(source.uids(np.arange(len(source))), BuildOptions.seed, "storage")
    paths = [source.paths[row] for row in order.tolist()]
    looks = list(threaded(lambda path: look(files, path), paths))
    absent = np.full(len(paths), -1)
    return Plain(
        root=files.root,
        rows=np.arange(len(paths)),
        info=_info(source, paths, looks),
        uid=source.uids(order),
        label=source.label[order],
        height=np.array([one.height for one in looks], np.int32),
        width=np.array([one.width for one in looks], np.int32),
        bytes=np.array([one.bytes for one in looks], np.int64),
        shard=absent.astype(np.int32),
        offset=absent.astype(np.int64),
        beton=absent.astype(np.int64),
        text={"key": list(map(key_of, paths)), "source": paths},
        odd=np.array([one.odd for one in looks], bool),
    )


def look(files: Local, path: str) -> Look:
    """An image as a build finds it; UserError names a damaged one. Of a plain JPEG its first 16 KB and its end marker
    are read, of others everything."""
    try:
        return _at_ends(files, path) or _at_all(files.read(path))
    except (Damaged, OSError, ValueError, MemoryError) as error:
        raise damaged(files, path, error) from error


def damaged(files: Local, path: str, error: Exception) -> UserError:
    """What to do about a file that gives no image."""
    cause = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    return UserError(
        f"{files.show(path)} is damaged: {cause}; mend or remove it, or build a set without it "
        "(`python tools/build_shards.py --on-error skip ...`)"
    )


def _at_ends(files: Local, path: str) -> Look | None:
    """The look at a file whose ends already tell that it is kept as it is."""
    with files.open(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= HEAD:
            return None
        ends = os.pread(file.fileno(), HEAD, 0) + os.pread(file.fileno(), 2, size - 2)
    try:
        found = _at_all(ends)
    except Damaged:  # the headers go on behind, or it is of another format: the whole file will say
        return None
    return None if found.odd else found._replace(bytes=size)


def _at_all(data: bytes) -> Look:
    one = encode(data, KEPT)
    return Look(one.height, one.width, len(one.jpeg), one.jpeg != data, one.kinds, one.suspect)


def _info(source: Source, paths: list[str], looks: list[Look]) -> DatasetInfo:
    """The page that a build with `--keep` would write, as far as it says something about the images."""
    count = np.bincount(source.label, minlength=len(source.classes)) if source.classes else np.zeros(0, np.int64)
    report: JSON = {
        "check": "headers",
        "normalised": dict(sorted(Counter(kind for one in looks for kind in one.kinds).items())),
        "suspect": [{"source": p, "cause": one.suspect} for p, one in zip(paths, looks, strict=True) if one.suspect],
        "skipped": [],
    }
    return DatasetInfo(
        name=f"{source.name}-plain-{source.split}",
        split=source.split,
        subset={"name": "full", "from": "source", "split": source.split},
        classes=source.classes,
        counts=tuple(count.tolist()),
        samples=len(paths),
        encoding={"quality": KEPT.quality, "keep": True, "check": KEPT.check},
        formats=("plain",),
        files=(),
        report=report,
        tool=f"viewstream {version('viewstream')}",
    )
