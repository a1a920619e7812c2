"""Process groups from the environment of torchrun or `--ranks`, collectives for one process too, and ranks' seeds."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..shards.errors import UserError
from .beats import host_name
from .launch import STORE
from .watchdog import time_out, watched

SHARED = 48  # bits of a seed
GONE = ("closed by peer", "reset by peer", "Broken pipe", "remote process exited")  # in the errors of gloo and nccl
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor  # its name before torch 2.14


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process."""
    return dist.get_rank() if dist.is_initialized() else 0


def own_seed(seed: int) -> int:
    """This rank's seed: SHARED bits of `seed`, which are those of all ranks, and the rank's number above them."""
    return rank() << SHARED | seed % 2**SHARED


@contextmanager
def process_group(device: str = "auto", watchdog: int = 0) -> Iterator[torch.device]:
    """Yield the device of this process; if several were started, inside a process group (nccl on GPUs, gloo on CPUs).
    `watchdog`: seconds after which a job that hangs is ended; 0: never."""
    kind = device if device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if kind == "cuda" and local >= torch.cuda.device_count():
        raise UserError(
            f"process {local} of this machine has no GPU, there are {torch.cuda.device_count()}: "
            f"start fewer processes, or use --device cpu"
        )
    chosen = torch.device(kind, local) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(chosen)
    if dist.is_initialized():  # a probe trains within an evaluation
        yield chosen
        return
    size, number = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    with loss_in_words(), watched(watchdog, number, size) as begin:
        if size > 1:
            backend, bound = ("nccl", chosen) if kind == "cuda" else ("gloo", None)
            if backend == "gloo":
                require_address(size)
            meeting = {"init_method": os.environ.get(STORE), "world_size": size, "rank": number}
            dist.init_process_group(backend, **meeting, timeout=time_out(watchdog), device_id=bound)
        begin()  # all ranks are there
        yield chosen
    if dist.is_initialized():  # not after an error: peers may be inside a collective, and nccl would wait for them
        dist.destroy_process_group()


def require_address(size: int) -> None:
    """UserError where gloo would give ranks on other machines an address that only this one can reach."""
    if size == int(os.environ.get("LOCAL_WORLD_SIZE", size)) or "GLOO_SOCKET_IFNAME" in os.environ:
        return
    own = ""
    with suppress(OSError):
        own = socket.gethostbyname(host_name())
    if own.startswith("127."):
        remedy = "set GLOO_SOCKET_IFNAME to the network that joins the machines (`ip -brief address` lists them)"
        raise UserError(
            f"{host_name()} has the address {own} here (/etc/hosts), which no other machine reaches: {remedy}"
        )


@contextmanager
def loss_in_words() -> Iterator[None]:
    """Make a UserError of the error of a rank whose peer is gone: the peer's own words say why it is."""
    try:
        yield
    except RuntimeError as error:
        if found := [words for words in GONE if words in str(error)]:
            remedy = "see what that one says, on its machine too; --resume auto continues a training"
            raise UserError(f"another rank is gone ({found[0]}): {remedy}") from error
        raise


@torch.no_grad()
def gather(x: Tensor) -> Tensor:
    """[N, ...] on each of W ranks -> [W N, ...] on all ranks, in rank order; without gradients."""
    if world_size() == 1:
        return x
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):  # images: keep their layout, without a copy
        return gather(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    out = x.new_empty(world_size() * len(x), *x.shape[1:])
    _all_gather(out, x.contiguous())
    return out


class Gathered(torch.autograd.Function):
    """`gather` with a gradient: that of the sum of all ranks' losses, of which DDP's mean makes that of their mean."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return gather(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        own = len(grad) // world_size()
        return summed(grad.clone(memory_format=torch.contiguous_format))[rank() * own : (rank() + 1) * own]


def gathered(x: Tensor) -> Tensor:
    """[N, ...] on each of W ranks -> [W N, ...] on all ranks, in rank order, with the gradient of `Gathered`."""
    return x if world_size() == 1 else Gathered.apply(x)  # pyright: ignore[reportReturnType]


@torch.no_grad()
def summed(x: Tensor) -> Tensor:
    """The sum of `x` over all ranks, in place and returned."""
    if world_size() > 1:
        dist.all_reduce(x)
    return x


def shared(text: str) -> str:
    """The text of rank 0, on all ranks."""
    texts = [text]
    if world_size() > 1:
        dist.broadcast_object_list(texts, src=0)
    return texts[0]


def of_all(text: str) -> list[str]:
    """The text of each rank, on all ranks."""
    texts = [text] * world_size()
    if world_size() > 1:
        dist.all_gather_object(texts, text)
    return texts


@torch.no_grad()
def share_buffers(net: nn.Module) -> None:
    """Copy the buffers of rank 0 to all ranks: during training each rank has its own BatchNorm statistics."""
    if world_size() > 1:
        for buffer in net.buffers():
            dist.broadcast(buffer, src=0)


@torch.no_grad()
def complete(x: Tensor) -> None:
    """Fill in place the rows [N, ...] of the other ranks, which are zero here; each row is of one rank alone. The bits
    are added as integers, so none changes."""
    if world_size() > 1:
        dist.all_reduce(x.view(torch.int32))
