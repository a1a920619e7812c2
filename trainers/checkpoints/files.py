"""Checkpoint files: read without executing anything in them, kept under a second name."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...shards.errors import UserError, needs
from ...shards.files import digest_of

State = dict[str, Tensor]  # entries of a network by name


def load_file(path: Path) -> Any:
    """Content of a .safetensors file or of a file that torch.save wrote, on the CPU. UserError if it cannot be read."""
    _require_file(path)
    try:
        if path.suffix == ".safetensors":
            return needs("safetensors.torch").load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the errors of the two libraries have no common base
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} is not a readable checkpoint ({reason}): name another") from error


def content_digest(path: Path) -> str:
    """sha256 of a checkpoint's bytes, in hexadecimal; its copies and links have the same. UserError if it is absent."""
    _require_file(path)
    return digest_of(path)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}: name another")


def link(source: Path, name: Path) -> None:
    """Give a file another name, which keeps its content when `source` is replaced later."""
    new = name.with_name(name.name + ".partial")
    new.unlink(missing_ok=True)
    try:
        os.link(source, new)
    except OSError:  # a file system without links
        shutil.copyfile(source, new)
    new.replace(name)
