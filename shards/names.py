"""One law for every name that a set writes down and that an archive or a server brings: it stays inside its folder.

A name is checked where it becomes a path, and all of them when a set is verified. Links are read, because caches are
made of them, and nothing is written through one. Pipes and devices are no files: the first block, the others may never
end.
"""

import errno
import os
import re
import stat
from io import BufferedReader
from pathlib import Path
from typing import Literal

from .errors import UserError

UNSAFE = re.compile(r"\x00|(?:^|/)\.{0,2}(?:/|\Z)")  # a part that is empty, `.` or `..`; absolute paths begin with one
REMEDY = {"set": "rename it at its source and build the set again, or fetch it again", "source": "rename it"}


def safe(name: str, root: object, kind: Literal["set", "source"] = "source") -> str:
    """`name`, a path in the set or source `root`; UserError if it leads out of there, or can be no path."""
    if fault := UNSAFE.search(name):
        fact = f"leads out of the {kind} {root}: a path in it has no part that is empty, `.` or `..`"
        if fault[0] == "\0":
            fact = f"in the {kind} {root} has a zero byte, which no file name can have"
        raise UserError(f"{name!r} {fact}; {REMEDY[kind]}")
    return name


def within(root: Path, name: str) -> Path:
    """The path of a file that a set in folder `root` names; UserError as of `safe`."""
    return root / safe(name, root, "set")


def open_file(path: str | os.PathLike[str]) -> BufferedReader:
    """A file, open to read; OSError for a pipe or a device."""
    return open(path, "rb", opener=regular)


def regular(path: str, flags: int) -> int:
    """An opener that refuses pipes and devices by OSError; a folder is refused by what calls it."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", path)


def refuse_links(root: Path, path: Path) -> None:
    """UserError if a folder between `root` and the file `path` in it is a link: writing the file would be elsewhere.

    The file itself may be one: it is replaced, and what it leads to stays."""
    for folder in (root / part for part in path.relative_to(root).parents):
        if folder != root and folder.is_symlink():
            raise UserError(f"{folder} is a link, and nothing is written through one: make {path.name} where it leads")
