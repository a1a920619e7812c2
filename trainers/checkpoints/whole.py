"""Whether a checkpoint is as it was written, which torch and safetensors do not ask: a flipped bit is other weights."""

import hashlib
import json
from pathlib import Path

import torch

from ...shards.errors import UserError
from ...shards.zips import damaged_member

DIGEST = "viewstream.sha256"  # in the metadata of a safetensors file
OF_A_RUN = ("last.pt", "best.pt", "epoch-*.pt")


def require_whole(path: Path) -> None:
    """UserError for a file of torch.save that differs from its checksums. It names another one of the run."""
    if member := damaged_member(path):
        raise UserError(f"{path} is damaged ({member} is not as it was written): {_remedy(path)}")


def _remedy(path: Path) -> str:
    """The newest of the run's other checkpoints that is whole; a second name of this one is not another."""
    named = {other for pattern in OF_A_RUN for other in path.parent.glob(pattern)}
    others = [other for other in named if not other.samefile(path)] if path in named else []
    for other in sorted(others, key=lambda file: file.stat().st_mtime, reverse=True):
        if not damaged_member(other):
            return f"{other} is whole, name that one; to resume from it, move {path.name} away first"
    return "copy or download it again, or name another"


def require_digest(path: Path, state: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """UserError if the tensors of a safetensors file differ from the digest in its metadata. Others write none."""
    if DIGEST in metadata and metadata[DIGEST] != tensors_digest(state):
        raise UserError(f"{path} is damaged (its tensors are not as they were written): convert or copy it again")


def tensors_digest(state: dict[str, torch.Tensor]) -> str:
    """sha256 of the names, types, shapes and bytes of tensors, in hexadecimal; their order does not count."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(json.dumps([name, str(value.dtype), *value.shape]).encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
