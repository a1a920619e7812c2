"""Where pictures come from. A source is its classes, a label and a path per picture, and a way to read a path.

Another kind of source is another function that returns a `Source`, with a reader of its own.
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from .errors import UserError
from .manifest import uid_of

SUFFIXES = {".jpeg", ".jpg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
LONGEST_KEY = 95  # bytes; USTAR has 100 for a name, `.json` takes 5
LAYOUT = "{root}/train/<class>/<picture>.JPEG and {root}/val/<class>/<picture>.JPEG"


class Reader(Protocol):
    """Picklable, because worker processes read."""

    def size(self, path: str) -> int:
        """Bytes, without reading them; 0 when it cannot be read, which `read` will then say."""
        ...

    def read(self, path: str) -> bytes: ...


@dataclass(frozen=True)
class Files:
    """Reads single files under a folder."""

    root: Path

    def size(self, path: str) -> int:
        try:
            return os.stat(self.root / path).st_size
        except OSError:
            return 0

    def read(self, path: str) -> bytes:
        with open(self.root / path, "rb") as file:
            return file.read()


@dataclass(frozen=True)
class Source:
    """Pictures in a fixed order: classes sorted by name, then paths. Cheap enough for millions (a string each)."""

    name: str
    reader: Reader
    classes: tuple[str, ...]
    label: np.ndarray  # [N] int32, index into classes
    paths: list[str]  # [N] class/file

    def __len__(self) -> int:
        return len(self.paths)

    def uids(self, rows: np.ndarray) -> np.ndarray:
        """[n] int64 positions -> [n] uint64 names."""
        return np.array([uid_of(key_of(self.paths[row])) for row in rows], np.uint64)


def imagefolder(root: Path, split: str) -> Source:
    """The tree `root/split/<class>/<picture>`; label = place of the class among the sorted folder names."""
    folder = root / split
    layout = LAYOUT.format(root=root)
    if not folder.is_dir():
        raise UserError(
            f"{folder} does not exist: a source is laid out as {layout}; name it with --source or $IMAGENET"
        )
    try:
        classes = tuple(sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith(".")))
        found = [list(_pictures(folder, name)) for name in classes]
    except OSError as error:
        raise UserError(f"{error.filename} cannot be listed ({error.strerror}): may you read it?") from None
    paths = [path for some in found for path in some]
    if not paths:
        raise UserError(f"{folder} holds no pictures in class folders: a source is laid out as {layout}")
    if len(classes) == 1:
        print(f"warning: {folder} has one class only, {classes[0]}: labels will say nothing", file=sys.stderr)
    label = np.repeat(np.arange(len(classes), dtype=np.int32), list(map(len, found)))
    return Source(os.path.basename(os.path.abspath(root)), Files(folder), classes, label, paths)


def _pictures(folder: Path, name: str) -> Iterator[str]:
    """Sorted paths of a class; two that would share a key, or a name that is no text, are refused by name."""
    seen: dict[str, str] = {}
    for file in sorted(e.name for e in os.scandir(folder / name) if not e.is_dir()):
        if file.startswith(".") or os.path.splitext(file)[1].lower() not in SUFFIXES:
            continue
        path = f"{name}/{file}"
        try:
            key = key_of(path)
        except UnicodeEncodeError:
            raise UserError(f"{path!r} in {folder} is not UTF-8: rename it, keys are text") from None
        if key in seen:
            raise UserError(f"{folder / seen[key]} and {folder / path} share the key {key}: rename one of them")
        seen[key] = path
        yield path


def key_of(path: str) -> str:
    """`class/stem`: a name that tar members, files and manifests can carry, at most 95 bytes.

    WebDataset splits names at the first dot, so dots become underscores; a long name keeps its head and gets a hash.
    """
    folder, _, file = path.rpartition("/")
    key = f"{folder}/{os.path.splitext(file)[0].replace('.', '_')}"
    raw = key.encode()
    if len(raw) <= LONGEST_KEY:
        return key
    head = raw[: LONGEST_KEY - 17].decode(errors="ignore")
    return f"{head}-{hashlib.blake2b(raw, digest_size=8).hexdigest()}"
