"""A local folder as a storage."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..names import open_file, regular, safe

LONGEST = 1 << 32  # bytes to read at once; sparse files can claim terabytes


class Entry(NamedTuple):
    """A file or folder in the listing of a folder."""

    name: str
    is_dir: bool
    is_link: bool = False


@dataclass(frozen=True)
class Local:
    """A local folder, read with plain system calls: no file system library is faster."""

    root: Path

    def show(self, path: str = "") -> str:
        """The path's name in messages."""
        return str(self.root / path)

    def inside(self, folder: str) -> "Local":
        """The storage of a folder in this one."""
        return Local(self.root / safe(folder, self.root)) if folder else self

    def entries(self, folder: str = "") -> list[Entry]:
        """Files and folders in a folder, in no order."""
        with os.scandir(self._at(folder) if folder else self.root) as found:
            return [Entry(e.name, _is_dir(e), e.is_symlink()) for e in found]

    def real(self, folder: str) -> str:
        """The folder's path without links."""
        return os.path.realpath(self._at(folder) if folder else self.root)

    def exists(self, path: str) -> bool:
        return os.path.exists(self._at(path))

    def size(self, path: str) -> int:
        return os.stat(self._at(path)).st_size

    def stamp(self, path: str) -> tuple[int, int]:
        """Size in bytes, and when the file was last written, ns: together they tell that it has changed."""
        found = os.stat(self._at(path))
        return found.st_size, found.st_mtime_ns

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        """The whole file, or `length` bytes of it; OSError when it ends before."""
        if length is None:
            with self.open(path) as file:
                if (size := os.fstat(file.fileno()).st_size) > LONGEST:
                    raise OSError(f"{path} has {size} bytes, which no image and no list has")
                return file.read()
        descriptor = regular(self._at(path), os.O_RDONLY)
        try:
            return whole(os.pread(descriptor, length, start), path, start, length)
        finally:
            os.close(descriptor)

    def open(self, path: str) -> BinaryIO:
        """The file, open to read and seek."""
        return open_file(self._at(path))

    def _at(self, path: str) -> str:
        return f"{self.root}/{safe(path, self.root)}"


def _is_dir(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a broken link: reading it reports the error
        return False


def whole(data: bytes, path: str, start: int, length: int) -> bytes:
    """The data; OSError unless it has the requested length."""
    if len(data) != length:
        raise OSError(f"{path} has {len(data)} bytes at {start}, not {length}: it has changed or is cut off")
    return data
