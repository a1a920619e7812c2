"""Locks between processes: flock locks on files, which the kernel releases when their process dies, however it dies.

On NFS they hold between machines (Linux passes them to the server); a file system that refuses them is named in a note.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import FileIO
from pathlib import Path

from .errors import UserError

try:
    import fcntl
except ModuleNotFoundError as error:  # Windows, which lacks pread too
    raise UserError("viewstream runs on Linux and macOS, not on this system: on Windows, run it in WSL") from error


@contextmanager
def held(path: Path, refusal: str = "") -> Iterator[FileIO]:
    """The file at `path`, made if it is absent, open for reading and writing, and locked within the block.

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
            elif stat.st_nlink > 1 and stat.st_size:  # a second name of a file in place, left by a killed program
                path.unlink()
            else:
                yield file
                return


def _opened(path: str, flags: int) -> int:
    """No mode of Python makes a file, keeps what it holds and writes anywhere in it."""
    return os.open(path, flags | os.O_CREAT, 0o666)


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
        print(f"note: files in {folder} cannot be locked ({reason}): start no second program there", file=sys.stderr)


def _names(path: Path, stat: os.stat_result) -> bool:
    """Whether a path names the file of `stat`. It is opened, because NFS asks its server then, and not for a stat."""
    try:
        with FileIO(path) as file:
            return os.path.samestat(os.fstat(file.fileno()), stat)
    except FileNotFoundError:
        return False
