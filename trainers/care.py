"""What runs and evaluations leave, file by file: compared with its checksums where it has some, else read."""

import math
from collections.abc import Callable
from pathlib import Path

from ..shards.errors import UserError
from ..shards.names import open_file
from ..shards.unpack import parsed_json
from ..shards.zips import damaged_member

CHECKPOINTS = (".pt", ".pth", ".safetensors")
PAGES = {
    "config.json": "the next start of the run writes it again",
    "results.json": "mend it by hand, or remove it: evaluations write their results again",
    "failure.json": "it only tells why a run ended, remove it",
}
LOG = "log.jsonl"
WHERE = ("*", "*/*", "*/*/*")  # of runs/RUN/PROBE/
HEADER = 1 << 27  # bytes that the names of a safetensors file take at most
Check = Callable[[Path], str]  # a file -> what is wrong with it and what to do, "" when it is whole


def verify(path: Path) -> dict[Path, str]:
    """The files of runs and evaluations in folder `path`, in a folder of runs and in their probes, and what is wrong
    with each and what to do, or "". `path` may be a file: one of another name is taken for a checkpoint."""
    if not path.is_dir():
        return {path: (_check_of(path.name) or _checkpoint)(path)}
    found = [(file, _check_of(file.name)) for pattern in WHERE for file in sorted(path.glob(pattern))]
    return {file: check(file) for file, check in found if check and not file.is_dir()}


def _check_of(name: str) -> Check | None:
    """How a file is checked, by its name; None for one that runs and evaluations do not write, or that only people
    read."""
    if name in PAGES:
        return _page
    if name == LOG:
        return _log
    return {".npz": _features, **dict.fromkeys(CHECKPOINTS, _checkpoint)}.get(Path(name).suffix)


def has_checksums(file: Path) -> bool:
    """Whether a file that is whole was compared with checksums: no JSON, no checkpoint in a format without any."""
    from .checkpoints.whole import DIGEST

    with open_file(file) as data:
        start = data.read(8)
        if start.startswith(b"PK"):
            return True
        return file.suffix == ".safetensors" and DIGEST.encode() in data.read(
            min(int.from_bytes(start, "little"), HEADER)
        )


def _checkpoint(file: Path) -> str:
    from .checkpoints.files import load_file  # with torch, after --help, which needs none

    try:
        load_file(file)
    except UserError as error:
        return str(error)
    return ""


def _features(file: Path) -> str:
    try:
        member = damaged_member(file)
    except OSError as error:
        return f"{file} cannot be read ({error.strerror})"
    return f"{file} is damaged ({member}): remove it, the evaluation makes it again" if member else ""


def _page(file: Path) -> str:
    try:
        with open_file(file) as data:
            page = parsed_json(data.read())
        if isinstance(page, dict):
            return ""
        cause = "it is no object"
    except (OSError, ValueError) as error:
        cause = str(error)
    return f"{file} is damaged ({cause}): {PAGES[file.name]}"


def _log(file: Path) -> str:
    """Lines are objects, the last one is whole, and steps do not go back."""
    last, line = -math.inf, ""
    try:
        with open_file(file) as lines:
            for number, data in enumerate(lines, 1):
                line = f"line {number}"
                row = parsed_json(data)
                step = row.get("step", last)
                if step < last:
                    return (
                        f"{file} goes back from step {last} to {step} in {line}: a version that did not cut logs back "
                        "resumed this run, the later lines count"
                    )
                last = step
                if not data.endswith(b"\n"):
                    raise ValueError("it has no end")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        return f"{file} is damaged ({line}: {error}): remove that line; --resume auto cuts off an unfinished last one"
    return ""
