"""Fetch a file of a remote folder, or a part of one: validate it and try again, or raise a UserError."""

import asyncio
import errno
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

from ...shards.errors import UserError, needs
from ...shards.formats.digest import Digest
from ...shards.sources.faults import as_os_error
from ...shards.sources.remote import Remote
from ...shards.sources.retry import PATIENCE, PAUSES, Stopped, retry
from ...shards.sources.servers import SILENCE
from .bandwidth import bandwidth

T = TypeVar("T")
REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)  # by the disk of the cache
PIECE = 1 << 20  # bytes that are read at once
GATHER = 0.1  # seconds after which a shorter piece is taken, so that a slow server does not delay a stop


@dataclass(frozen=True)
class RetryPolicy:
    """How often a fetch is tried again, and how long it waits for a server that is silent, or that throttles."""

    pauses: tuple[float, ...] = PAUSES  # seconds before each new try
    read_timeout: float = SILENCE  # seconds without data from a web server or S3; others have limits of their own
    patience: float = PATIENCE  # seconds of 429 and 503 without a good answer


DEFAULT_RETRY = RetryPolicy()


@dataclass(frozen=True)
class RemoteStore(Remote):
    """A remote folder whose files can be fetched, by all stores of a process at `mbps` megabits per second at most."""

    retry: RetryPolicy = DEFAULT_RETRY
    mbps: float = 0.0  # no limit

    @property
    def silence(self) -> float:
        return self.retry.read_timeout

    def fetch(self, name: str, to: Path, longest: int, validate: Callable[[Path], str], stop: Event) -> None:
        """Write file `name`, of at most `longest` bytes, to the file `to`: what is longer is read no further than one
        piece. `validate(to)` returns what is wrong with it, "" for nothing. UserError when no try brings a valid file;
        Stopped soon after `stop` is set."""

        def attempt() -> None:
            self._get(name, to, longest, stop)
            if fault := validate(to):
                raise OSError(fault)

        self._tried(name, attempt, stop)

    def page(self, name: str, longest: int, validate: Callable[[bytes], str]) -> bytes:
        """The content of a small file, of at most `longest` bytes. `validate` and UserError as of `fetch`."""

        def attempt() -> bytes:
            with as_os_error(self.show(name)):
                data = b"".join(self._received(name, longest, Event()))
            if fault := validate(data):
                raise OSError(fault)
            return data

        return self._tried(name, attempt, Event())

    def piece(self, name: str, start: int, length: int, validate: Callable[[bytes], str], stop: Event) -> bytes:
        """`length` bytes at `start` of file `name`, by one request for this range. `validate(them)` returns what is
        wrong with them. UserError and Stopped as of `fetch`."""

        def attempt() -> bytes:
            bandwidth(self.mbps).take(length, stop)
            with as_os_error(self.show(name)):
                fs, at = self._at(name)
                data = fs.cat_file(at, start=start, end=start + length)
            if len(data) != length:
                raise OSError(f"it has {len(data):,} bytes at byte {start:,}, not {length:,}: it is cut off")
            if fault := validate(data):
                raise OSError(fault)
            return data

        return self._tried(name, attempt, stop)

    def _tried(self, name: str, attempt: Callable[[], T], stop: Event) -> T:
        """The result of the first try that brings one."""
        shown = self.show(name)

        def cause(error: OSError) -> str:
            return str(error).removeprefix(f"{shown}: ") or type(error).__name__

        try:
            return retry(attempt, self.retry.pauses, stop, self.server, self.retry.patience)
        except FileNotFoundError as error:
            raise UserError(f"{shown} is not there: check that the whole set was uploaded") from error
        except PermissionError as error:
            raise UserError(f"{shown} may not be read ({cause(error)}): check your access rights there") from error
        except OSError as error:
            raise UserError(
                f"{shown} could not be fetched in {len(self.retry.pauses) + 1} tries ({cause(error)}): "
                "try again later, and upload this file of the set again if that does not help"
            ) from error

    def _get(self, name: str, to: Path, longest: int, stop: Event) -> None:
        """One try. OSError when it fails; UserError when the local disk is full; Stopped."""
        try:
            with as_os_error(self.show(name)), to.open("wb") as file:
                for piece in self._received(name, longest, stop):
                    file.write(piece)
        except OSError as error:
            if error.errno in REFUSED:
                remedy = "free some space, lower the limit of the cache, or name another cache folder"
                raise UserError(f"{to} cannot be written ({error.strerror}): {remedy}") from error
            raise

    def _received(self, name: str, longest: int, stop: Event) -> Iterator[bytes]:
        """The bytes of a file as they come. OSError when they are more than `longest`; Stopped."""
        received, budget = 0, bandwidth(self.mbps)
        with closing(_pieces(*self._at(name))) as pieces:
            for piece in pieces:
                if stop.is_set():
                    raise Stopped
                if (received := received + len(piece)) > longest:
                    raise OSError(f"the server sends {received:,} or more bytes, not {longest:,}")
                budget.take(len(piece), stop)
                yield piece


def _pieces(fs: Any, at: str) -> Generator[bytes]:
    """A file in pieces, each read when it is asked for: one request, for a protocol that can stream, and little memory.
    `get_file` of fsspec would hold 500 MB of an object, and its callbacks run where no thread may wait."""
    asyn = needs("fsspec.asyn")
    if not fs.async_impl or type(fs).open_async is asyn.AsyncFileSystem.open_async:
        with fs.open(at, "rb") as file:
            while piece := file.read(PIECE):
                yield piece
        return

    async def gathered() -> bytes:
        parts, left, until = [], PIECE, asyncio.get_running_loop().time() + GATHER
        while left and (part := await stream.read(left)):
            parts.append(part)
            left -= len(part)
            if asyncio.get_running_loop().time() > until:
                break
        return b"".join(parts)

    async def close() -> None:
        body = stream.r
        await stream.close()
        if body is not None:  # that of an object stays open
            body.close()

    stream = asyn.sync(fs.loop, fs.open_async, at, "rb", size=0)  # a size that is known spares a request for it
    try:
        while piece := asyn.sync(fs.loop, gathered):
            yield piece
    finally:
        asyn.sync(fs.loop, close)


def altered(path: Path, length: int, digest: str, spans: Iterable[tuple[int, int]]) -> str:
    """How a file differs from one of `length` bytes and `digest`, "" if it does not. `spans` (start, length) are its
    images."""
    size = path.stat().st_size
    if size != length:
        return f"it has {size:,} bytes, not {length:,}"
    with path.open("rb") as file:
        found = Digest(file)
        deque(found.images(spans), maxlen=0)
        return "" if found.end() == digest else "its digest differs from that in the manifest"
