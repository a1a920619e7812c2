"""A file of a remote folder into a local one: tried again while it fails or is not what it should be, then refused."""

import errno
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from ...shards.errors import UserError, needs
from ...shards.formats.digest import Digest
from ...shards.sources.remote import PAUSES, Remote
from .cache import Stopped

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class RetryPolicy:
    """How long a download is waited for, and how often it is tried again."""

    pauses: tuple[float, ...] = PAUSES  # seconds before each new try
    read_timeout: float = 60.0  # seconds that a web server may send nothing; other protocols have limits of their own


DEFAULT_RETRY = RetryPolicy()


@dataclass(frozen=True)
class RemoteStore(Remote):
    """A remote folder whose files can be fetched."""

    retry: RetryPolicy = DEFAULT_RETRY

    def fetch(self, name: str, to: Path, validate: Callable[[Path], str], stop: Event) -> None:
        """File `name` into the file `to`, in which `validate` finds nothing to name. UserError when it is not to be
        had; Stopped soon after `stop` is set."""
        fault = ""
        for pause in (0.0, *self.retry.pauses):
            if stop.wait(pause):
                raise Stopped
            fault = self._tried(name, to, stop) or validate(to)
            if not fault:
                return
        raise UserError(
            f"{self.show(name)} could not be fetched in {len(self.retry.pauses) + 1} tries ({fault}): try again, "
            "and if it stays so, upload this file of the set anew"
        )

    def _tried(self, name: str, to: Path, stop: Event) -> str:
        """What went wrong for the moment; UserError for what will not be better next time."""

        def stop_if_requested(*_: Any, **__: Any) -> None:
            if stop.is_set():
                raise Stopped

        fs, at = self._at(name)
        watch = needs("fsspec.callbacks").Callback(hooks={"stop": stop_if_requested})  # called at every piece
        try:
            fs.get_file(at, str(to), callback=watch)
        except Stopped:
            raise
        except Exception as error:  # there is no list of what a protocol raises
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise UserError(f"no room for {to}: free some, or lower the limit of the cache") from error
            if isinstance(error, FileNotFoundError):
                raise UserError(f"{self.show(name)} is not there: is the whole set uploaded?") from error
            if isinstance(error, PermissionError) or getattr(error, "status", None) in (401, 403):
                raise UserError(f"{self.show(name)} may not be read ({error}): see to your rights there") from error
            return f"{type(error).__name__}: {error}".rstrip(": ")
        return ""

    def _at(self, path: str) -> tuple[Any, str]:
        """A web server gets as long as it takes for a file, whose size nobody knows, but not to be silent."""
        fs, at = super()._at(path)
        if self._web:
            read_timeout = self.retry.read_timeout
            limits = needs("aiohttp").ClientTimeout(total=None, sock_connect=read_timeout, sock_read=read_timeout)
            fs = type(fs)(client_kwargs={"timeout": limits})  # fsspec keeps one of each kind
        return fs, at


def altered(path: Path, length: int, digest: str, spans: Iterable[tuple[int, int]]) -> str:
    """How a file differs from one of `length` bytes and `digest`, whose images lie at `spans` (start, length)."""
    size = path.stat().st_size
    if size != length:
        return f"it has {size:,} bytes, not {length:,}"
    with path.open("rb") as file:
        found = Digest(file)
        deque(found.images(spans), maxlen=0)
        return "" if found.end() == digest else "its digest is not the manifest's"
