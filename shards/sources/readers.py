"""Readers of images: files of their own, or ranges of larger files."""

from dataclasses import dataclass
from typing import Any

from .source import Reader
from .storage import Storage


@dataclass(frozen=True)
class Files:
    """Reads single files under a folder; a place is a path."""

    storage: Storage

    def size(self, place: str) -> int:
        try:
            return self.storage.size(place)
        except OSError:
            return 0

    def read(self, place: str) -> bytes:
        return self.storage.read(place)


@dataclass(frozen=True)
class Ranges:
    """Reads ranges of larger files; a place is (file number, offset, length), offset -1 = not staged.

    Of a sample with further members, (offset, length) of each follow, offset -1 = it has none."""

    storage: Storage
    files: tuple[str, ...]

    def size(self, place: Any) -> int:
        return int(place[2])

    def read(self, place: Any) -> bytes:
        file, start, length = map(int, place[:3])
        if start < 0:
            raise OSError("this image was not staged: a build stages the rows that it reads")
        return self.storage.read(self.files[file], start, length) if length else b""


def fields_at(reader: Reader, place: Any) -> list[bytes | None]:
    """The further members of a sample at a place of Ranges, None for one that it lacks."""
    spans = zip(place[3::2], place[4::2], strict=True)
    return [None if start < 0 else reader.read((place[0], start, length)) for start, length in spans]
