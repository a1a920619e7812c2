"""The one door of final writes: a file or folder has its name when it is whole and on the disk, and keeps it then.

A power cut loses what was not synced: the bytes of a file, and a name in its folder. So bytes are synced before the
name is given, and the folder afterwards.
"""

import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from .errors import UserError
from .locks import alone, held
from .names import open_file

LOG = logging.getLogger(__name__)

PAGE = "dataset.json"  # written last: a folder that has it is a complete set
FOLDERLESS = (errno.EINVAL, errno.ENOTSUP)  # of file systems that sync no folders, as CIFS
SPACE = "check free space and write permission"


def partial_path(path: Path) -> Path:
    """The name of a file that is not complete yet."""
    return path.with_name(path.name + ".partial")


@contextmanager
def atomic(path: Path, mode: str = "wb", *, keep: bool = False) -> Iterator[IO[Any]]:
    """Open a file under a partial name; when the block ends well it is placed at `path`, otherwise deleted.

    The partial file is locked: another process that writes `path` waits, so a block may also read what it replaces.
    `keep`: it still holds what a killed program wrote, for a block that goes on from there.
    """
    partial = partial_path(path)
    with held(partial) as lock:
        if not keep:
            lock.truncate(0)  # what a killed program left
        try:
            with open(partial, mode, opener=lambda *_: os.dup(lock.fileno())) as file:
                yield file
            place(partial, path)
        except BaseException as error:
            with suppress(OSError):  # the first error is the one to show
                partial.unlink(missing_ok=True)
            named(error, path)
            raise


def place(work: Path, out: Path) -> None:
    """Give a finished file or folder its name: all of it is on the disk before it is at `out`, where it stays."""
    if work.is_dir():
        os.sync()  # one sync for each of a million files would take hours
    else:
        sync(work)
    work.replace(out)
    sync(out.parent)


def sync(path: Path) -> None:
    """Flush to the disk the bytes of a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not path.is_dir() or error.errno not in FOLDERLESS:
            named(error, path)
            raise
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless they exist; their names are on the disk then."""
    absent = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in absent:
        sync(folder.parent)


def append(path: Path, text: str) -> None:
    """Add `text` at the end of a file, and not to one that `atomic` is replacing."""
    with alone(partial_path(path)):
        with path.open("a") as file:
            file.write(text)
        sync(path)


def digest_of(path: Path) -> str:
    """sha256 of a file, in hexadecimal."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(path: Path, remedy: str = f"{SPACE}, or name another folder") -> Iterator[None]:
    """Within the block, an error of the file system is a UserError that names `path` and the remedy."""
    try:
        yield
    except BrokenPipeError:  # of what is printed within
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}): {remedy}") from error


@contextmanager
def spared(path: Path) -> Iterator[None]:
    """Within the block, an error of the file system is a note: what would lie at `path` saves time and no more."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = error.strerror or error
        LOG.warning(f"note: {path} cannot be kept ({reason}), so it is made again next time")


def named(error: BaseException, path: Path) -> None:
    """Let an error of the file system that names no file, as those of `write` and `fsync` do, name `path`."""
    if isinstance(error, OSError) and error.errno and error.filename is None:
        error.filename = str(path)


def free_at(path: Path) -> int:
    """Bytes that are free on the disk of `path`, which may not be there yet."""
    path = path.absolute()
    return shutil.disk_usage(next(place for place in (path, *path.parents) if place.exists())).free
