"""Checkpoint files: read without executing anything in them, kept under a second name."""

import argparse
import os
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from ...shards.errors import UserError, needs
from ...shards.files import atomic, digest_of, partial_path, place
from ..marks import progress
from .bounds import require_bounded, require_plain
from .whole import require_digest, require_whole

State = dict[str, Tensor]  # entries of a network by name

# Plain classes that programs save beside their weights, some of them under several names: restoring them runs nothing.
HARMLESS: list[Any] = [argparse.Namespace, dict, int, float, np.ndarray, np.dtype]
HARMLESS += [type(np.dtype(code)) for code in np.typecodes["All"]]
for _home in ("numpy.core.multiarray", "numpy._core.multiarray"):
    HARMLESS += [(np.float64(0).__reduce__()[0], f"{_home}.scalar")]
    HARMLESS += [(np.zeros(0).__reduce__()[0], f"{_home}._reconstruct")]
HARMLESS += [(PurePosixPath, f"{_home}.PosixPath") for _home in ("pathlib", "pathlib._local")]
HARMLESS += [(lambda *_: {}, "collections.defaultdict")]  # torch fills dictionaries alone
HARMLESS += [(lambda *_: [], "builtins.list")]  # what a defaultdict begins with; a list of a long array takes gigabytes


def load_file(path: Path) -> Any:
    """Content of a safetensors file or of a file that torch.save wrote, on the CPU. UserError if it cannot be read, or
    differs from its checksums."""
    _require_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): name another") from error
    if obstacle := _no_checkpoint(start):
        raise UserError(f"{path} is not a readable checkpoint {obstacle}")
    require_bounded(path)
    if start.startswith(b"PK"):  # a zip file, of any project; what torch.save wrote before there were zips has no sums
        require_whole(path)
    library = needs("safetensors") if path.suffix == ".safetensors" or start[8:10] == b'{"' else None
    metadata = {}
    try:
        if library:
            with library.safe_open(path, framework="pt") as file:
                names, metadata = file.keys(), file.metadata() or {}
                content = {name: file.get_tensor(name) for name in names}
        else:
            with torch.serialization.safe_globals(HARMLESS):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the errors of the two libraries have no common base
        raise UserError(f"{path} is not a readable checkpoint {_obstacle(start, error)}") from error
    require_plain(path, content)
    require_digest(path, content, metadata)
    return content


def _no_checkpoint(start: bytes) -> str:
    """What is in the way, and the remedy, if the first bytes of a file show that it is something else; else empty."""
    if not start:
        return "(it is empty): copy or download it again"
    if start.startswith(b"version https://git-lfs"):
        return "(it is a Git LFS pointer, not the file itself): `git lfs pull` in its folder brings the file"
    if re.match(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|\?xml)", start, re.IGNORECASE):
        return "(it is a web page): download the file itself"
    return ""


def _obstacle(start: bytes, error: Exception) -> str:
    """The same for an error of torch or safetensors, whose own advice would be to run what the file holds."""
    unknown = re.search(r"GLOBAL ([\w.]+)", str(error))
    if unknown or "TorchScript" in str(error):
        return (
            f"(it holds {unknown[1] if unknown else 'a TorchScript program'}, and restoring that would run code): save "
            "the weights alone, with torch.save(model.state_dict(), FILE) in the program that wrote it"
        )
    if start.startswith(b"PK") or start[8:10] == b'{"':
        return "(it is damaged or cut off): copy or download it again"
    return "(neither torch.save nor safetensors wrote it, or it is damaged): name another"


def save(content: Any, file: IO[bytes]) -> None:
    """Write what torch.save writes. OSError if the file system refuses, which torch shows as an error of its own."""
    try:
        torch.save(content, _Marked(file))  # pyright: ignore[reportArgumentType]
    except RuntimeError as error:
        cause = error.__context__
        if isinstance(cause, OSError):
            raise OSError(cause.errno, cause.strerror) from error
        raise


class _Marked:
    """A file whose writes are marks, so that a slow disk is no hang."""

    def __init__(self, file: IO[bytes]):
        self.flush, self._file = file.flush, file

    def write(self, data: bytes) -> int:
        progress.moved()
        return self._file.write(data)


def from_before(folder: Path) -> str:
    """The end of an error message: that the run in `folder` has a checkpoint from before the error, if it has one."""
    return "; last.pt is from before" if (folder / "last.pt").exists() else ""


def content_digest(path: Path) -> str:
    """sha256 of a checkpoint's bytes, in hexadecimal; its copies and links have the same. UserError if it is absent."""
    _require_file(path)
    return digest_of(path)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}: name another")


def link(source: Path, name: Path) -> None:
    """Give a file another name, which keeps its content when `source` is replaced later."""
    new = partial_path(name)
    new.unlink(missing_ok=True)
    try:
        os.link(source, new)
    except OSError:  # a file system without links
        with source.open("rb") as content, atomic(name) as copy:
            shutil.copyfileobj(content, copy)
    else:
        place(new, name)
