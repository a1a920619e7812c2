"""Files that appear whole or not at all, and the folder of a build in progress."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from .errors import UserError

PAGE = "dataset.json"  # written last: a folder that has it is a complete set
BUILDING = "building"  # a folder, there from a build's first to its last moment: the set's folder is ours to clean
OPTIONS = "options.json"


@contextmanager
def atomic(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """A file to write under a partial name; it takes its own name, synced, when the block ends well, or goes."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open(mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    partial.replace(path)


def digest_of(path: Path) -> str:
    """sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def workplace(out: Path, options: dict[str, Any]) -> Iterator[Path]:
    """Folder `out/building` for the records of one build, which may be going on from an earlier one's.

    Refused when `out` holds anything that no build wrote, a complete set, or a build with other options. When the build
    fails, what it finished stays; when it finished nothing, nothing stays.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: name a folder with --out")
    building = out / BUILDING
    if (out / PAGE).exists() and not building.exists():
        raise UserError(f"{out} already holds a complete data set: name another --out, or remove that folder first")
    if out.is_dir() and any(out.iterdir()) and not building.exists():
        raise UserError(f"{out} holds files that no build wrote: name a new or an empty folder with --out")
    try:
        building.mkdir(parents=True, exist_ok=True)
        mark = (building / OPTIONS).open("a+")
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}): name another folder with --out") from error
    with mark:
        _lock(mark, out)
        if not os.fstat(mark.fileno()).st_nlink:  # another build ended between look and lock
            raise UserError(f"another build has just finished {out}: name another --out")
        _same_options(mark, out, options)
        try:
            yield building
        except BaseException as error:
            finished = len(list(building.glob("*.parquet")))
            if not finished:
                clear(out)
                with suppress(OSError):  # a mount point stays
                    out.rmdir()
            kept = f"; {finished} shards are finished, the same command goes on from there" if finished else ""
            if isinstance(error, OSError):
                reason = f"writing {out} failed ({error}): is there room, and may you write?{kept}"
                raise UserError(reason) from error
            if kept and isinstance(error, UserError):
                raise UserError(f"{error}{kept}") from error
            raise
        shutil.rmtree(building)


def clear(folder: Path, keep: Container[Path] = ()) -> None:
    """Remove what is in a folder, but for `keep`."""
    for path in folder.iterdir():
        if path in keep:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _lock(mark: IO[str], out: Path) -> None:
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel drops it when its process dies
    except BlockingIOError as error:
        raise UserError(f"another build is writing {out}: wait for it, or name another --out") from error


def _same_options(mark: IO[str], out: Path, options: dict[str, Any]) -> None:
    """Shards of different options are never mixed; a mark torn by a crash stands for a build that had just begun."""
    mark.seek(0)
    text = json.dumps(options, indent=1, sort_keys=True, default=str)
    try:
        before = json.loads(mark.read())
    except ValueError:
        before = None
    if before is None:
        for record in (out / BUILDING).glob("*.parquet"):
            record.unlink()
        mark.truncate(0)
        mark.write(text)
        mark.flush()
        os.fsync(mark.fileno())
    elif before != json.loads(text):
        now = json.loads(text)
        odd = [f"{k} was {before.get(k)}, is {now.get(k)}" for k in sorted(now) if before.get(k) != now.get(k)]
        raise UserError(
            f"{out} holds an unfinished build with other options ({'; '.join(odd)}): finish it with those, "
            "name another --out, or remove that folder"
        )
