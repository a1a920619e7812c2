"""Files that appear whole or not at all, and the folder of a build in progress."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import UserError

PAGE = "dataset.json"  # written last: a folder that has it is a complete set
BUILDING = "building.json"  # present from a build's first to its last moment: this folder is ours to clean


@contextmanager
def atomic(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """A file to write under a partial name; it takes its own name, synced, when the block ends well."""
    partial = path.with_name(path.name + ".partial")
    with partial.open(mode) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


@contextmanager
def workplace(out: Path, parameters: dict[str, Any]) -> Iterator[Path]:
    """Folder `out` for one build: refused when it holds anything else, emptied of what a dead build left, and emptied
    again when this one fails, so that only a complete set ever stays."""
    if (out / PAGE).exists():
        raise UserError(f"{out} already holds a complete data set: name another --out, or remove that folder first")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: name a folder with --out")
    if out.is_dir() and any(out.iterdir()) and not (out / BUILDING).exists():
        raise UserError(f"{out} holds files that no build wrote: name a new or an empty folder with --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        mark = (out / BUILDING).open("a+")
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}): name another folder with --out") from None
    with mark:
        _lock(mark, out)
        if (out / PAGE).exists() or not os.fstat(mark.fileno()).st_nlink:  # another build ended between look and lock
            raise UserError(f"another build has just finished {out}: name another --out")
        _empty(out)
        mark.truncate(0)
        json.dump(parameters, mark, indent=1)
        mark.flush()
        try:
            yield out
        except BaseException as error:
            _empty(out)
            (out / BUILDING).unlink()
            out.rmdir()
            if isinstance(error, OSError):
                raise UserError(f"writing {out} failed ({error}): is there room, and may you write?") from error
            raise
        (out / BUILDING).unlink()


def _lock(mark: IO[str], out: Path) -> None:
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel drops it when its process dies
    except BlockingIOError:
        raise UserError(f"another build is writing {out}: wait for it, or name another --out") from None


def _empty(out: Path) -> None:
    for path in out.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != BUILDING:
            path.unlink()
