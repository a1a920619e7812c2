"""A folder of this machine as a storage."""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..errors import UserError

UNSAFE = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)")  # an absolute path, or one with a part that is empty, `.` or `..`
LONGEST = 1 << 32  # bytes to read at once; files of holes can claim terabytes


class Entry(NamedTuple):
    """What a folder lists."""

    name: str
    is_dir: bool


@dataclass(frozen=True)
class Local:
    """Plain system calls: no file system is faster."""

    root: Path

    def show(self, path: str = "") -> str:
        """What a message calls it."""
        return str(self.root / path)

    def inside(self, folder: str) -> "Local":
        """The storage of a folder in this one."""
        return Local(self.root / folder) if folder else self

    def entries(self, folder: str = "") -> list[Entry]:
        """What lies in a folder, in no order."""
        with os.scandir(self._at(folder) if folder else self.root) as found:
            return [Entry(e.name, _is_dir(e)) for e in found]

    def exists(self, path: str) -> bool:
        return os.path.exists(self._at(path))

    def size(self, path: str) -> int:
        return os.stat(self._at(path)).st_size

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        """The whole file, or `length` bytes of it; OSError when it ends before."""
        if length is None:
            with self.open(path) as file:
                if (size := os.fstat(file.fileno()).st_size) > LONGEST:
                    raise OSError(f"{path} has {size} bytes, which no image and no list has")
                return file.read()
        number = os.open(self._at(path), os.O_RDONLY)
        try:
            return whole(os.pread(number, length, start), path, start, length)
        finally:
            os.close(number)

    def open(self, path: str) -> BinaryIO:
        """A file to read and seek in."""
        return open(self._at(path), "rb", opener=_plain)

    def _at(self, path: str) -> str:
        return f"{self.root}/{safe(path, self.root)}"


def _plain(path: str, flags: int) -> int:
    """An open file; a pipe would be waited for, a device may never end."""
    number = os.open(path, flags | os.O_NONBLOCK)
    mode = os.fstat(number).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # of a folder open() complains
        return number
    os.close(number)
    raise OSError(f"{path} is a pipe or a device, not a file")


def _is_dir(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere it can: reading it will say so
        return False


def safe(path: str, root: object) -> str:
    """The path, if it stays under its root."""
    if UNSAFE.search(path):
        raise UserError(f"{path!r} leads out of {root}: an image's path is class/file, without `..`")
    return path


def whole(data: bytes, path: str, start: int, length: int) -> bytes:
    """The data, if that is all that was asked for."""
    if len(data) != length:
        raise OSError(f"{path} has {len(data)} bytes at {start}, not {length}: it has changed or is cut off")
    return data
