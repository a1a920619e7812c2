"""Files of far away in a local folder of limited size, shared by the threads and processes of a machine.

A file under its own name is whole: it was written and checked as `.partial` first. The locks are the kernel's (flock),
which drops them when their process dies:

    .alone       exclusive: somebody counts, and removes what was used least recently
    NAME.lock    exclusive: somebody fetches NAME; it is as long as the room that is kept for it, and takes none
    NAME         shared: somebody reads it

What nobody has locked may be removed.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from threading import Event

from ...shards.errors import UserError
from ...shards.files import atomic

LOCK, PARTIAL, ALONE = ".lock", ".partial", ".alone"
POLL = 0.05  # seconds between looks for room
TOUCH = 0.1  # seconds; a file in use is marked so no more often


class Stopped(Exception):
    """Who wanted a file wants it no longer."""


class Cache:
    """At most `limit` bytes of files in `folder`; who finds all of it in use waits, `timeout` seconds at most."""

    def __init__(self, folder: Path, limit: int, timeout: float = 600.0):
        self.folder, self.limit, self.timeout = folder, limit, timeout
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder} cannot be made ({error.strerror}): name another cache folder") from error
        if not os.access(folder, os.W_OK):
            raise UserError(f"{folder} may not be written: name another cache folder")

    def get(self, name: str, length: int, fill: Callable[[Path], None], stop: Event) -> FileIO:
        """File `name` of `length` bytes, open; it is not removed before it is closed. One that is not there is written
        by `fill`, once, whoever else wants it. UserError when there is no room; Stopped when `stop` is set."""
        if length > self.limit:
            raise UserError(
                f"a file of {length:,} bytes does not fit into a cache of {self.limit:,}: raise the limit of the cache"
            )
        path = self.folder / name
        if (file := _leased(path, length)) is not None:
            return file
        with held(self.folder / f"{name}{LOCK}") as lock:
            try:
                if (file := _leased(path, length)) is not None:  # fetched while this one waited
                    return file
                self._reserve(lock, length, stop)
                with atomic(path) as written:
                    fill(Path(written.name))
                    return _lease(Path(written.name))  # before it takes its name, which others may remove
            finally:
                Path(lock.name).unlink()

    def _reserve(self, lock: FileIO, length: int, stop: Event) -> None:
        """Keep `length` bytes for the file of this lock."""
        until = time.monotonic() + self.timeout
        lock.truncate(0)  # a killed process may have left its own
        while True:
            with held(self.folder / ALONE):
                taken = self._shrunk(self.limit - length)
                if taken + length <= self.limit:
                    lock.truncate(length)
                    return
            if time.monotonic() > until:
                raise UserError(
                    f"{self.folder} is limited to {self.limit:,} bytes, of which {taken:,} are in use, and {length:,} "
                    "are wanted: raise the limit of the cache"
                )
            if stop.wait(POLL):
                raise Stopped

    def _shrunk(self, most: int) -> int:
        """The bytes of all files, after those used least recently have gone that must, and can."""
        files: list[tuple[int, int, Path]] = []  # time of the last use, bytes
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # a lock that has just been dropped
                stat = path.stat()
                if path.suffix != PARTIAL:
                    files.append((stat.st_mtime_ns, stat.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total > most and path.name != ALONE and _removed(path):
                total -= size
        return total


@contextmanager
def held(path: Path) -> Iterator[FileIO]:
    """A file of that name, made if need be, locked against everybody else."""
    while True:
        with FileIO(path, "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:  # nobody has removed it between look and lock
                yield file
                return


def _leased(path: Path, length: int) -> FileIO | None:
    """The file, open and marked as used just now; None if it is not there or not whole."""
    try:
        file = _lease(path)
    except FileNotFoundError:
        return None
    stat = os.fstat(file.fileno())
    if not stat.st_nlink or stat.st_size != length:
        file.close()
        return None
    if abs(time.time() - stat.st_mtime) > TOUCH:
        os.utime(file.fileno())
    return file


def _lease(path: Path) -> FileIO:
    file = FileIO(path, "r")
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def _removed(path: Path) -> bool:
    """Remove a file, or what a killed process left of one, unless it is locked."""
    with suppress(OSError), FileIO(path, "r") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.suffix == LOCK:
            path.with_suffix(PARTIAL).unlink(missing_ok=True)
        path.unlink()
        return True
    return False
