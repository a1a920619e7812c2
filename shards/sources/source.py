"""Where images come from: their classes, a label and a path for each, and a way to read them."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..manifest import uid_of

LONGEST_KEY = 95  # bytes; USTAR has 100 for a name, `.json` takes 5


class Reader(Protocol):
    """Reads images by their place in the source. Picklable, because worker processes read."""

    def size(self, place: Any) -> int:
        """Bytes, without reading them; 0 when it cannot be read, which `read` will then say."""
        ...

    def read(self, place: Any) -> bytes:
        """The image file's bytes; OSError or ValueError with the cause when there are none."""
        ...


@dataclass(frozen=True)
class Source:
    """Images in a fixed order: classes sorted by name, then paths. Cheap enough for millions.

    A path names an image: class/file, the same in whatever kind of source it lies, so lists, keys and uids do not
    depend on that. A place is what the reader needs to find it: the path itself, or where in which archive it is.
    """

    name: str
    split: str  # train or val
    reader: Reader
    classes: tuple[str, ...]  # () when nothing is labeled
    label: np.ndarray  # [N] int32, index into classes; -1 = unlabeled
    paths: list[str]  # [N] class/file
    places: Sequence[Any] | np.ndarray  # [N] what the reader is told
    stage: "Callable[[Source, Path, np.ndarray], Source] | None" = None  # (source, folder, rows): for archives that
    # cannot be read at random; writes what rows need into a folder and returns the same source with another reader

    def __len__(self) -> int:
        return len(self.paths)

    def uids(self, rows: np.ndarray) -> np.ndarray:
        """[n] int64 positions -> [n] uint64 names."""
        return np.array([uid_of(key_of(self.paths[row])) for row in rows], np.uint64)


def key_of(path: str) -> str:
    """`class/stem`: a name that tar members, files and manifests can carry, at most 95 bytes.

    WebDataset splits names at the first dot, so dots become underscores; a long name keeps its head and gets a hash.
    """
    folder, slash, file = path.rpartition("/")
    key = f"{folder}{slash}{os.path.splitext(file)[0].replace('.', '_')}"
    raw = key.encode()
    if len(raw) <= LONGEST_KEY:
        return key
    head = raw[: LONGEST_KEY - 17].decode(errors="ignore")
    return f"{head}-{hashlib.blake2b(raw, digest_size=8).hexdigest()}"
