"""Files that appear whole or not at all, and the folder of a build in progress."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from .errors import UserError
from .unpack import parsed_json

try:
    import fcntl
except ModuleNotFoundError as error:  # Windows, which lacks pread too
    raise UserError("viewstream runs on Linux and macOS, not on this system: on Windows, run it in WSL") from error

PAGE = "dataset.json"  # written last: a folder that has it is a complete set
BUILDING = "building"  # present while a build runs; it marks the folder as ours, so leftovers may be deleted
OPTIONS = "options.json"


def partial_path(path: Path) -> Path:
    """The name of a file that is not complete yet."""
    return path.with_name(path.name + ".partial")


@contextmanager
def atomic(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file under a partial name; when the block ends well it is synced and renamed, otherwise deleted."""
    partial = partial_path(path)
    partial.unlink(missing_ok=True)  # what a killed program left may be a second name of a file that is in place
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
def build_folder(out: Path, options: dict[str, Any]) -> Iterator[Path]:
    """Folder `out/building` for the records of one build, new or left by an earlier build with the same options.

    UserError when `out` holds files that no build wrote, a complete set, or a build with other options. When the build
    fails, finished shards stay; when none is finished, `out` is emptied.
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
        options_file = (building / OPTIONS).open("a+")
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error.strerror}): name another folder with --out") from error
    with options_file:
        lock(options_file, f"another build is writing {out}: wait for it, or name another --out")
        if not os.fstat(options_file.fileno()).st_nlink:  # another build ended between opening and locking
            raise UserError(f"another build has just finished {out}: name another --out")
        _same_options(options_file, out, options)
        try:
            yield building
        except BaseException as error:
            finished = len(list(building.glob("*.parquet")))
            if not finished:
                clear(out)
                with suppress(OSError):  # `out` may be a mount point
                    out.rmdir()
            kept = f"; {finished} shards are finished, the same command continues from there" if finished else ""
            if isinstance(error, OSError):
                reason = f"writing {out} failed ({error}): check free space and write permission{kept}"
                raise UserError(reason) from error
            if kept and isinstance(error, UserError):
                raise UserError(f"{error}{kept}") from error
            raise
        shutil.rmtree(building)


def clear(folder: Path, keep: Container[Path] = ()) -> None:
    """Delete what a folder holds, except the paths in `keep`."""
    for path in folder.iterdir():
        if path in keep:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def lock(file: IO[Any], refusal: str) -> None:
    """Lock an open file until it is closed. UserError `refusal`, without waiting, if another process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel releases it when this process dies
    except BlockingIOError as error:
        raise UserError(refusal) from error
    except OSError as error:  # some network file systems have no locks
        print(f"note: {file.name} cannot be locked ({error.strerror}): start no second program there", file=sys.stderr)


@contextmanager
def writing(
    path: Path, remedy: str = "check free space and write permission, or name another folder"
) -> Iterator[None]:
    """Within the block, an error of the file system is a UserError that names `path` and the remedy."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}): {remedy}") from error


def _same_options(file: IO[str], out: Path, options: dict[str, Any]) -> None:
    """Refuse a build with other options than those in `file`; without options in it, write these.

    A file torn by a crash means that a build had just begun: its records, if any, are deleted.
    """
    file.seek(0)
    text = json.dumps(options, indent=1, sort_keys=True, default=str)
    now = json.loads(text)
    try:
        before = parsed_json(file.read())
    except ValueError:
        before = None
    if before is None:
        for record in (out / BUILDING).glob("*.parquet"):
            record.unlink()
        file.truncate(0)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    elif before != now:
        changed = [f"{k} was {before.get(k)}, is {now.get(k)}" for k in sorted(now) if before.get(k) != now.get(k)]
        raise UserError(
            f"{out} holds an unfinished build with other options ({'; '.join(changed)}): finish it with those, "
            "name another --out, or remove that folder"
        )
