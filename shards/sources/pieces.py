"""A remote file as one that is read in few large requests, each of them tried again after a failure."""

import io
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO, cast

from .local import Local
from .storage import Storage

PIECE = 8 << 20  # bytes of a request; a stream holds two at a time


class Pieces(io.RawIOBase):
    """A file of `size` bytes; each read of it is one call of `piece(first byte, length)`."""

    def __init__(self, piece: Callable[[int, int], bytes], size: int):
        self._piece, self._size, self._at = piece, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return self._next(self._size)

    def _next(self, length: int) -> bytes:
        if (length := min(length, self._size - self._at)) <= 0:
            return b""
        data = self._piece(self._at, length)
        self._at += length
        return data


def opened(piece: Callable[[int, int], bytes], size: int, first: int = PIECE) -> BinaryIO:
    """A file of `size` bytes as `Pieces` reads it, at least `first` bytes at a time."""
    return cast(BinaryIO, io.BufferedReader(Pieces(piece, size), first))


def streamed(files: Storage, name: str, size: int) -> BinaryIO:
    """A file of `size` bytes, open to be read once; one at a URL in pieces, so no memory and no disk holds all of it.
    OSError if it has another size."""
    if isinstance(files, Local):
        return files.open(name)
    found = files.size(name)
    if found and found != size:  # a web server may not report it
        raise OSError(f"it has {found:,} bytes, not {size:,}")
    return opened(partial(files.read, name), size)
