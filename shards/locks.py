"""Locks between processes: flock locks on files, which the kernel releases when their process dies, however it dies.

Linux passes them on to an NFS server (flock(2)), so they hold between machines; a file system without locks is named in
a note.
"""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import FileIO
from pathlib import Path
from stat import S_ISREG

from .errors import UserError

LOG = logging.getLogger(__name__)

try:
    import fcntl
except ModuleNotFoundError as error:  # Windows, which lacks pread too
    raise UserError("viewstream runs on Linux and macOS, not on this system: on Windows, run it in WSL") from error

LOCK = ".lock"  # in a folder that one process at a time fills


@contextmanager
def held(path: Path, refusal: str = "") -> Iterator[FileIO]:
    """Within the block: the file at `path`, made if it is absent, open for reading and writing, locked.

    Waits while another process or thread holds it; UserError `refusal` instead, if there is one. Who holds the file may
    rename or remove it: who waited for it then takes the file that has the name now.
    """
    while True:
        with FileIO(path, "r+", opener=_opened) as file:
            _lock(file, refusal)
            stat = os.fstat(file.fileno())
            if not _names(path, stat):
                if refusal:  # its holder has just left
                    raise UserError(refusal)
            elif not S_ISREG(stat.st_mode) or (stat.st_nlink > 1 and stat.st_size):
                path.unlink()  # a pipe or a device; or a second name of a file in place, left by a killed program
            else:
                yield file
                return


@contextmanager
def alone(lock: Path, refusal: str = "") -> Iterator[None]:
    """The same with a file that exists within the block only; it must lie in a folder that stays, for NFS keeps the
    files that are open."""
    with held(lock, refusal):
        try:
            yield
        finally:
            with suppress(OSError):  # a file that stays locks nothing, and the error before is the one to show
                lock.unlink()


def _opened(path: str, flags: int) -> int:
    """No mode of Python makes a file, keeps what it holds and writes anywhere in it. A link, which may have come with a
    set, is not followed but removed."""
    try:
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    os.unlink(path)
    return _opened(path, flags)


def _lock(file: FileIO, refusal: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if refusal else 0))
    except BlockingIOError as error:
        raise UserError(refusal) from error
    except OSError as error:
        _note_no_locks(Path(os.fsdecode(file.name)).parent, error.strerror)


@cache
def _note_no_locks(folder: Path, reason: str) -> None:
    """Once per folder: some network file systems have no locks."""
    if os.environ.get("RANK", "0") == "0":
        LOG.warning(f"note: files in {folder} cannot be locked ({reason}): start no second program there")


def _names(path: Path, stat: os.stat_result) -> bool:
    """Whether a path names the file of `stat`. It is opened, because NFS asks its server then, and not for a stat."""
    try:
        with FileIO(path) as file:
            return os.path.samestat(os.fstat(file.fileno()), stat)
    except FileNotFoundError:
        return False
