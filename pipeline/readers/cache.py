"""LRU cache of remote files in a local folder of limited size, shared by all threads and processes of a machine.

A file under its own name is complete: it was written and validated as NAME.partial first. All locks are flock locks,
which the kernel releases when their process dies:

    .alone       exclusive: one holder counts the bytes and removes the least recently used files; it marks the folder
                 as a cache, in which files may be removed
    NAME.lock    exclusive: one holder fetches NAME; this file is sparse, and as long as the room reserved for NAME
    NAME         shared: the holder reads NAME

A file without a lock may be removed.
"""

import fcntl
import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from io import FileIO
from pathlib import Path
from threading import Event

from ...shards.errors import UserError
from ...shards.files import atomic, make_folder
from ...shards.locks import held
from ...shards.sources.retry import Stopped

LOCK, PARTIAL, ALONE = ".lock", ".partial", ".alone"
POLL = 0.05  # seconds between two looks for room
TOUCH = 0.1  # seconds; the time of last use is updated no more often


class NoRoom(UserError):
    """The limit of a cache leaves no room for a file."""


class Cache:
    """LRU file cache of at most `limit` bytes; get() waits up to `timeout` seconds while every file is in use. Files
    whose names are in `spared` are not removed."""

    def __init__(self, folder: Path, limit: int, timeout: float = 600.0, spared: Collection[str] = ()):
        self.folder, self.limit, self.timeout, self.spared = folder, limit, timeout, spared
        try:
            make_folder(folder)
        except OSError as error:
            raise UserError(f"{folder} cannot be made ({error.strerror}): name another cache folder") from error
        if not os.access(folder, os.W_OK):
            raise UserError(f"{folder} may not be written: name another cache folder")
        if any(folder.iterdir()) and not (folder / ALONE).exists():  # to make room, they would be removed
            raise UserError(f"{folder} holds files that no cache wrote: name another cache folder")
        (folder / ALONE).touch()

    def get(self, name: str, length: int, fill: Callable[[Path], None], stop: Event) -> FileIO:
        """File `name` of `length` bytes, open; it is not removed before it is closed. `fill(path)` writes a missing
        file, once for all threads and processes that ask for it; the file at `path` holds what a killed process wrote
        of it. NoRoom when there is no room; Stopped when `stop` is set."""
        if length > self.limit:
            raise NoRoom(
                f"a file of {length:,} bytes does not fit into a cache of {self.limit:,}: raise the limit of the cache"
            )
        path = self.folder / name
        if (file := leased(path, length)) is not None:
            return file
        with held(self.folder / f"{name}{LOCK}") as lock:
            try:
                if (file := leased(path, length)) is not None:  # fetched by another while this one waited
                    return file
                self._reserve(lock, length, stop)
                with atomic(path, keep=True) as written:
                    fill(Path(written.name))
                    fcntl.flock(written, fcntl.LOCK_SH)  # its writer's lock, which a lease would wait for
                    return _lease(Path(written.name))  # before it gets its name, under which others may remove it
            finally:
                Path(lock.name).unlink()

    def _reserve(self, lock: FileIO, length: int, stop: Event) -> None:
        """Reserve `length` bytes for the file that this lock belongs to; wait for room."""
        until = time.monotonic() + self.timeout
        lock.truncate(0)  # the reservation of a process that was killed
        while True:
            with held(self.folder / ALONE):
                taken = self._evict(self.limit - length)
                if taken + length <= self.limit:
                    lock.truncate(length)
                    return
            if time.monotonic() > until:
                raise NoRoom(
                    f"{self.folder} is limited to {self.limit:,} bytes, {taken:,} of them are in use, and "
                    f"{length:,} more are needed: raise the limit of the cache"
                )
            if stop.wait(POLL):
                raise Stopped

    def _evict(self, limit: int) -> int:
        """Remove least recently used files until at most `limit` bytes are left or all others are in use; return the
        bytes that are left."""
        files: list[tuple[int, int, Path]] = []  # time of the last use, bytes
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # a lock that has just been released
                stat = path.stat()
                if path.suffix != PARTIAL:
                    files.append((stat.st_mtime_ns, stat.st_size, path))
        placed = {f"{path.name}{LOCK}" for _, _, path in files}
        files = [(used, 0 if path.name in placed else size, path) for used, size, path in files]  # reserved for a file
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            kept = path.name == ALONE or path.name.removesuffix(LOCK) in self.spared
            if total > limit and not kept and _removed(path):
                total -= size
        return total


def leased(path: Path, length: int) -> FileIO | None:
    """The file, open, locked and marked as just used; None if it is missing or has another length."""
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
    """The file, open and with a shared lock."""
    file = FileIO(path, "r")
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def _removed(path: Path) -> bool:
    """Remove a file, and the partial file of a lock, unless it is locked; whether it was removed."""
    with suppress(OSError), FileIO(path, "r+") as file:  # NFS locks alone what may be written
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.suffix == LOCK:
            path.with_suffix(PARTIAL).unlink(missing_ok=True)
        path.unlink()
        return True
    return False
