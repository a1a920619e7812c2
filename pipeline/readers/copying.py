"""Copy a file and compute its digest, in one pass that goes on where a killed one stopped."""

import io
import threading
from collections import deque
from collections.abc import Callable, Iterable
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

from ...shards.care.damage import reason
from ...shards.errors import UserError
from ...shards.formats.digest import Digest
from ...shards.info import JSON
from ...shards.sources.pieces import streamed
from ...shards.sources.storage import Storage
from .bandwidth import bandwidth

# Bytes that are written at once: where files are in the page cache in large parts, reads of them are faster.
PIECE = 8 << 20
NEVER = threading.Event()
Advance = Callable[[int], object]  # gets numbers of bytes


def copy(
    source: Storage, line: JSON, to: Path, spans: Iterable[tuple[int, int]], advance: Advance = bool, mbps: float = 0.0
) -> None:
    """Copy the file that `dataset.json` describes in `line` to the file `to`, which may hold its first bytes, at `mbps`
    megabits per second at most. `spans` (start, length) are its samples; `advance` gets numbers of bytes that are
    there. UserError if it cannot be read or its digest is another one; OSError if `to` cannot be written."""
    shown, length, spans = source.show(line["file"]), line["bytes"], [*spans]
    try:
        file = streamed(source, line["file"], length)
    except OSError as error:
        raise UserError(f"{shown} cannot be read ({reason(error)})") from error
    with file as whole, FileIO(to, "r+") as target:
        begun = min(target.seek(0, 2), length)
        target.truncate(begun)
        if _copied(Tee(whole, target, length, shown, advance, mbps), spans) == line["digest"]:
            return
        target.truncate(0)
        if begun and _copied(Tee(whole, target, length, shown, bool, mbps), spans) == line["digest"]:
            return  # a power cut may leave anything of a copy that it ends
    raise UserError(f"{shown} is damaged (its digest differs from that in dataset.json)")


def _copied(tee: "Tee", spans: Iterable[tuple[int, int]]) -> str:
    """Copy a file; the digest of the copy, "" if it has none."""
    tee.target.seek(0)
    digest = Digest(io.BufferedReader(tee, PIECE))
    try:
        deque(digest.images(spans), maxlen=0)
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        return ""  # the samples lie over each other
    return digest.end()


class Tee(io.RawIOBase):
    """Reads `target`, and from its end on the first `length` bytes of `source`, which it writes there."""

    def __init__(self, source: BinaryIO, target: FileIO, length: int, shown: str, advance: Advance, mbps: float):
        self.source, self.target, self.length, self.shown, self.advance = source, target, length, shown, advance
        self.at, self.budget = 0, bandwidth(mbps)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Where it is: nothing seeks."""
        return self.at

    def readinto(self, buffer: Any) -> int:
        buffer = memoryview(buffer)[: self.length - self.at]
        count = self.target.readinto(buffer) or self._new(buffer)
        self.at += count
        self.advance(count)
        return count

    def _new(self, buffer: memoryview) -> int:
        try:
            self.source.seek(self.at)
            count = self.source.readinto(buffer)  # pyright: ignore[reportAttributeAccessIssue]
        except OSError as error:
            raise UserError(f"{self.shown} cannot be read ({reason(error)})") from error
        self.budget.take(count, NEVER)
        rest = buffer[:count]
        while rest:  # a write may take a part
            rest = rest[self.target.write(rest) or 0 :]
        return count
