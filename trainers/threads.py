"""Torch's threads on a CPU. Sums depend on their number, so a fixed rule chooses it, never a clock: equal commands give
equal losses, and a resumed run takes the number that it was saved with."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from ..pipeline.workers import share_of_cores

WORTH = 4 * 10**9  # multiply-adds of all forwards of a step for each thread: less work does not pay for waking it


class Threads(NamedTuple):
    """A number of threads, and why it is that."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"torch takes {self.number} thread{'s' * (self.number > 1)}, {self.reason}"


def asked(choice: int | str) -> Threads | None:
    """What `--threads` or OMP_NUM_THREADS says; None without either."""
    if isinstance(choice, int):
        return Threads(choice, "as --threads says")
    return Threads(torch.get_num_threads(), "as OMP_NUM_THREADS says") if os.environ.get("OMP_NUM_THREADS") else None


def all_cores() -> Threads:
    """The cores of this process, for large products: those of an evaluation, and what a GPU leaves to the host."""
    return Threads(share_of_cores(), "the cores of this process")


def by_size(nets: Iterable[nn.Module], size: int, images: int) -> Threads:
    """The rule of training: one thread for each WORTH multiply-adds of `nets` for `images` of `size` px."""
    work = images * sum(multiply_adds(net, size) for net in nets)
    number = max(1, min(share_of_cores(), work // WORTH))
    return Threads(number, f"by the size of its networks, {work / 1e9:.2g} billion multiply-adds a step (--threads)")


@torch.no_grad()
def multiply_adds(net: nn.Module, size: int) -> int:
    """Multiply-adds of the convolutions and linear layers of `net` for one image of `size` px."""
    counts: list[int] = []

    def count(layer: Any, _: Any, out: torch.Tensor) -> None:
        counts.append(out.numel() // layer.weight.shape[0] * layer.weight.numel())

    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    training = [module for module in net.modules() if module.training]
    weight = next(net.parameters())
    try:
        net.eval()(torch.zeros(1, 3, size, size, device=weight.device, dtype=weight.dtype))
    finally:
        for hook in hooks:
            hook.remove()
        for module in training:
            module.training = True
    return sum(counts)


@contextmanager
def taken(threads: Threads) -> Iterator[None]:
    """Torch computes with so many threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads.number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
