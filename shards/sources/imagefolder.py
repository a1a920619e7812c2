"""A tree of class folders, as torchvision's ImageFolder reads it."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..source import Source, key_of

SUFFIXES = {".jpeg", ".jpg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
LAYOUT = "{root}/train/<class>/<picture>.JPEG and {root}/val/<class>/<picture>.JPEG"


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
    return Source(os.path.basename(os.path.abspath(root)), split, Files(folder), classes, label, paths, paths)


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
