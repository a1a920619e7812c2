"""Process groups: torchrun's environment, collectives that also work on one process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process."""
    return dist.get_rank() if dist.is_initialized() else 0


@contextmanager
def group(device: str | None = None) -> Iterator[torch.device]:
    """The device of this process, inside a process group when torchrun started several (nccl on GPUs, gloo on CPUs)."""
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    here = torch.device(kind, local) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(here)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        dist.init_process_group("nccl" if kind == "cuda" else "gloo", device_id=here if kind == "cuda" else None)
    try:
        yield here
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


@torch.no_grad()
def gather(x: Tensor) -> Tensor:
    """[N, ...] on each of W ranks -> [W N, ...] on all of them, in rank order; carries no gradient."""
    if world() == 1:
        return x
    out = x.new_empty(world() * len(x), *x.shape[1:])
    dist.all_gather_into_tensor(out, x.contiguous())
    return out


def gather_ragged(x: Tensor) -> Tensor:
    """`gather` for lengths that differ between ranks, zero included."""
    if world() == 1:
        return x
    lengths = gather(torch.tensor([len(x)], device=x.device)).tolist()
    padded = x.new_zeros(max(lengths), *x.shape[1:])
    padded[: len(x)] = x
    parts = gather(padded).split(max(lengths))
    return torch.cat([part[:n] for part, n in zip(parts, lengths, strict=True)])
