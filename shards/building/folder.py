"""The folder of a build in progress: of one process at a time, with the options of its build."""

import json
import shutil
from collections.abc import Container, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import UserError, plural
from ..files import PAGE, SPACE, atomic, make_folder, writing
from ..locks import LOCK, alone
from ..unpack import parsed_json

BUILDING = "building"  # present while a build runs; it marks the folder as ours, so leftovers may be deleted
OPTIONS = "options.json"


@contextmanager
def build_folder(out: Path, options: dict[str, Any]) -> Iterator[Path]:
    """Folder `out/building` for the records of one build, new or left by an earlier build with the same options.

    UserError when `out` holds files that no build wrote, a complete set, or a build with other options. When the build
    fails, finished shards stay; when none is finished, `out` is emptied.
    """
    building = out / BUILDING
    _require_free(out)
    with ExitStack() as stack:
        with writing(out, "name another folder with --out"):
            make_folder(out)
            refusal = f"another build is writing {out}: wait for it, or name another --out"
            stack.enter_context(alone(out / LOCK, refusal))
            _require_free(out)  # another build may have ended between the two lines before
            make_folder(building)
            _same_options(out, options)
        try:
            yield building
        except BaseException as error:
            finished = len(list(building.glob("*.parquet")))
            if not finished and not (out / PAGE).exists():
                with suppress(OSError):  # `out` may be a mount point, or of a disk that refuses this too
                    clear(out)
                    out.rmdir()
            kept = continues(finished)
            if isinstance(error, OSError):
                reason = f"writing {out} failed ({error}): {SPACE}{kept}"
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


def _require_free(out: Path) -> None:
    """Refuse a folder that holds anything but an unfinished build."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: name a folder with --out")
    try:
        held = {*out.iterdir()} - {out / LOCK}  # first: whatever another build writes meanwhile, it marks before
    except (FileNotFoundError, NotADirectoryError):  # a parent that is a file is refused where the folder is made
        return
    if held and not (out / BUILDING).exists():
        raise complete(str(out)) if (out / PAGE).exists() else foreign(str(out))


def _same_options(out: Path, options: dict[str, Any]) -> None:
    """Refuse a build with other options than those of the build in `out`; without any there, write these.

    A file torn by a crash means that a build had just begun: its records, if any, are deleted.
    """
    path = out / BUILDING / OPTIONS
    text, now = as_stored(options)
    try:
        before = parsed_json(path.read_bytes())
    except (FileNotFoundError, ValueError):
        before = None
    if before is None:
        for record in path.parent.glob("*.parquet"):
            record.unlink()
        with atomic(path, "w") as file:
            file.write(text)
    else:
        refuse_other(str(out), before, now)


def as_stored(options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Options as text, and as they are read from it."""
    text = json.dumps(options, indent=1, sort_keys=True, default=str)
    return text, json.loads(text)


def refuse_other(out: str, before: dict[str, Any], now: dict[str, Any]) -> None:
    """UserError if an unfinished build in `out` has other options."""
    if before != now:
        names = sorted({*now, *before})
        changed = [f"{k} was {before.get(k)}, is {now.get(k)}" for k in names if before.get(k) != now.get(k)]
        raise UserError(
            f"{out} holds an unfinished build with other options ({'; '.join(changed)}): finish it with those, "
            "name another --out, or remove that folder"
        )


def complete(out: str) -> UserError:
    """The refusal of a place that holds a set."""
    return UserError(f"{out} already holds a complete data set: name another --out, or remove that folder first")


def foreign(out: str) -> UserError:
    """The refusal of a place that holds something else."""
    return UserError(f"{out} holds files that no build wrote: name a new or an empty folder with --out")


def continues(finished: int) -> str:
    """What a message says about the shards that an error leaves."""
    return f"; {plural(finished, 'shard')} finished, the same command continues from there" if finished else ""
