"""A source: images in a fixed order, with classes, labels, paths and a way to read them."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..manifest import uid_of
from .passed import PassedOver

LONGEST_KEY = 95  # bytes; USTAR has 100 for a name, `.json` takes 5


class Reader(Protocol):
    """Reads images by their place in the source. Picklable, because worker processes read."""

    def size(self, place: Any) -> int:
        """Size of the image file in bytes, without reading it; 0 when that fails, and then `read` raises."""
        ...

    def read(self, place: Any) -> bytes:
        """The image file's bytes; OSError or ValueError with the cause when there are none."""
        ...


@dataclass(frozen=True)
class Source:
    """Images in a fixed order: by label, then by path. Cheap enough for millions of images.

    A path is class/file. It names an image in every kind of source, so lists, keys and uids do not depend on the kind.
    A place is what the reader needs to find the image: its path, or a position in an archive.
    """

    name: str
    split: str  # train or val
    reader: Reader
    classes: tuple[str, ...]  # () when nothing is labeled
    label: np.ndarray  # [N] int32, index into classes; -1 = unlabeled
    paths: list[str]  # [N] class/file
    places: Sequence[Any] | np.ndarray  # [N] arguments of the reader's methods
    stage: "Stage | None" = None  # for archives without random access
    passed: PassedOver = field(default_factory=PassedOver)
    fields: tuple[str, ...] = ()  # suffixes of further members of the samples, which `fields_at` reads

    def __len__(self) -> int:
        return len(self.paths)

    def uids(self, rows: np.ndarray) -> np.ndarray:
        """[n] int64 positions -> [n] uint64 uids."""
        return np.fromiter((uid_of(key_of(self.paths[row])) for row in rows), np.uint64, len(rows))


# (source, folder, rows): copies the images of the rows into the folder; returns the same source, which reads them there
Stage = Callable[[Source, Path, np.ndarray], Source]


def key_of(path: str) -> str:
    """`class/stem`: a name for tar members, files and manifests, at most 95 bytes.

    Dots become underscores, because WebDataset splits names at the first dot. A long name is cut and ends in a hash.
    """
    folder, slash, file = path.rpartition("/")
    key = f"{folder}{slash}{os.path.splitext(file)[0].replace('.', '_')}"
    raw = key.encode()
    if len(raw) <= LONGEST_KEY:
        return key
    head = raw[: LONGEST_KEY - 17].decode(errors="ignore")
    return f"{head}-{hashlib.blake2b(raw, digest_size=8).hexdigest()}"
