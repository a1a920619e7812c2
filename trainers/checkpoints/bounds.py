"""What a checkpoint may hold and become: it is data of others, and a few bytes can stand for gigabytes."""

import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...shards.errors import UserError
from ...shards.unpack import FREE, RATIO, most

DEPTH = 50  # containers within containers


def require_bounded(path: Path) -> None:
    """UserError for a zip file whose members take far more memory than the file has bytes: torch writes them unpacked,
    and reads packed ones."""
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile):
        return  # no zip file
    if claimed > most(size := path.stat().st_size):
        raise _refused(path, f"its {size:,} bytes unpack to {claimed:,}, more than {RATIO} times as many")


def require_plain(path: Path, content: Any) -> None:
    """UserError for content that is nested without end, or for tensors that are not what their bytes are."""
    level = [content]
    for _ in range(DEPTH):
        inner = {}
        for part in level:
            for value in _parts(part):
                if isinstance(value, Tensor):
                    if fault := _fault(value):
                        raise _refused(path, fault)
                elif isinstance(value, dict | list | tuple | set):
                    inner[id(value)] = value  # once, however many names it has
        if not inner:
            return
        level = [*inner.values()]
    raise _refused(path, f"its parts are nested more than {DEPTH} deep")


def _parts(part: Any) -> list[Any]:
    return (
        [*part, *part.values()] if isinstance(part, dict) else [*part] if isinstance(part, list | tuple | set) else []
    )


def _fault(t: Tensor) -> str:
    if t.layout is not torch.strided or t.is_quantized or t.device.type != "cpu":
        return "a tensor of it is sparse, quantized or without data"
    claimed = t.numel() * t.element_size()
    if claimed > most(held := t.untyped_storage().nbytes()):
        return f"a tensor of {held:,} bytes claims {claimed:,}, more than {RATIO} times as many or {FREE >> 20} MiB"
    return ""


def _refused(path: Path, fault: str) -> UserError:
    return UserError(f"{path} is no checkpoint that is read ({fault}): name another, or fetch it again")
