"""A folder at a URL as a storage, through any file system that fsspec knows.

Each protocol raises its own errors; all of them become OSError (`faults.py`), without the passwords of addresses.
Failed reads are tried again, because an image lost to a network failure would otherwise count as damaged.
"""

import html
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import quote, unquote

from ..names import safe
from ..redaction import bare, redacted
from .faults import as_os_error
from .local import Entry, whole
from .retry import PAUSES, retry
from .servers import SILENCE, file_system
from .web import WHOLE, check, is_web, joined

T = TypeVar("T")
BUFFER = 1 << 16  # bytes


@dataclass(frozen=True)
class Remote:
    """The methods of Local for a URL. Holds no connection, so each process opens its own."""

    url: str = field(repr=False)  # with its password and query; `show` hides them

    def __post_init__(self) -> None:
        check(self.url)

    def show(self, path: str = "") -> str:
        return self._below(redacted(self.url), path)

    def inside(self, folder: str) -> "Remote":
        return Remote(self._below(self.url, safe(folder, self.show()))) if folder else self

    def entries(self, folder: str = "") -> list[Entry]:
        def get() -> list[Any]:
            with as_os_error(self.show(folder)):
                return fs.ls(joined(path, "") if self._web else path, detail=True)

        fs, path = self._at(folder)
        found = self._retried(get)
        listed = {e["name"].rstrip("/"): e["type"] == "directory" for e in found}
        entries = [Entry(name.rpartition("/")[2], is_dir) for name, is_dir in listed.items() if name != path]
        if self._web:  # links of an index page; those with "?" sort it differently
            entries = [Entry(unquote(html.unescape(e.name)), e.is_dir) for e in entries if "?" not in e.name]
        return [e for e in entries if e.name]

    def real(self, folder: str) -> str:
        return self.show(folder)

    def exists(self, path: str) -> bool:
        def get() -> bool:
            with as_os_error(self.show(path)):
                fs, at = self._at(path)
                return bool(fs.info(at)) if self._web else fs.exists(at)  # `exists` calls a server that fails "no"

        try:
            return self._retried(get)
        except FileNotFoundError:
            return False
        except PermissionError:  # web servers of buckets answer 403 when there is no such file
            if not self._web:
                raise
            return False

    def size(self, path: str) -> int:
        def get() -> int:
            with as_os_error(self.show(path)):
                fs, at = self._at(path)
                return int(fs.size(at) or 0)  # a server may not report it

        return self._retried(get)

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        def get() -> bytes:
            with as_os_error(self.show(path)):
                fs, at = self._at(path)
                if length is not None:
                    return fs.cat_file(at, start=start, end=start + length)
                return fs.cat_file(at) if self._web else _most(fs, at)  # `web.py` limits what a web server sends

        data = self._retried(get)
        if length is None and len(data) > WHOLE:
            raise OSError(f"{self.show(path)} has more than {WHOLE:,} bytes, as no image and no list has")
        return data if length is None else whole(data, self.show(path), start, length)

    def open(self, path: str) -> BinaryIO:
        def get() -> Any:
            with as_os_error(self.show(path)):
                fs, at = self._at(path)
                return fs.open(at, "rb")

        file = self._retried(get)
        try:
            file.seek(0, 2)
        except ValueError as error:
            raise OSError(22, "the server sends whole files only: fetch it first", self.show(path)) from error
        file.seek(0)
        return cast(BinaryIO, io.BufferedReader(_File(file, self.show(path), self.server), BUFFER))

    @property
    def server(self) -> str:
        """Its server, or bucket, in messages."""
        scheme, _, rest = bare(self.url).partition("://")
        return f"{scheme}://{rest.partition('/')[0]}"

    @property
    def _web(self) -> bool:
        return is_web(self.url)

    def _below(self, url: str, path: str) -> str:
        if not path:
            return url
        return joined(url, path) if self._web else f"{url.rstrip('/')}/{path}"

    def _retried(self, get: Callable[[], T]) -> T:
        return retry(get, PAUSES, server=self.server)

    def _at(self, path: str, silence: float = SILENCE) -> tuple[Any, str]:
        """The file system, which fsspec caches, and its name for a path."""
        fs, root = file_system(self.url, silence)
        path = path and safe(path, self.show())
        return fs, self._below(root.rstrip("/"), quote(path) if self._web else path)


def _most(fs: Any, at: str) -> bytes:
    """A whole file, or the first WHOLE bytes and one more."""
    try:
        return fs.cat_file(at, start=0, end=WHOLE + 1)
    except Exception:  # an empty file has no range
        if fs.size(at):
            raise
        return b""


class _File(io.RawIOBase):
    """A file of fsspec whose errors are OSError."""

    def __init__(self, file: Any, name: str, server: str) -> None:
        self._file, self._name, self._server = file, name, server

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        at = self._file.tell()

        def get() -> bytes:
            with as_os_error(self._name):
                self._file.seek(at)
                return self._file.read(len(buffer))

        data = retry(get, PAUSES, server=self._server)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
