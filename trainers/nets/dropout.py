"""Dropout whose masks are hashes: the same for any number of ranks, on every device and after a resume.

What is dropped is a function of the seed, the step, the place of the dropout in the method, the pass within the step,
the row in the global batch and the element. Torch's own dropout draws from a generator of the process instead.
"""

import math
import sys
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from ...augment.draw import hashed
from ...augment.renderers.keyed import fold, mix, shift_right, signed
from ...shards.keyed import Purpose
from ...shards.manifest import uid_of
from ..ranks import rank


class KeyedDropout(nn.Module):
    """Sets a share `p` of the elements of x [N, ...] to zero in training, or of the `rows`; multiplies the others by
    `scale`. `place` is a name of its own."""

    key: Tensor

    def __init__(self, p: float, place: str, *, scale: float, rows: bool = False):
        super().__init__()
        self.p, self.place, self.scale, self.rows = p, uid_of(place), scale, rows
        self.register_buffer("key", torch.zeros((), dtype=torch.long), persistent=False)

    def begin(self, seed: int, step: int) -> None:
        """Start a step."""
        self.key.fill_(signed(int(hashed(seed, step, Purpose.DROPOUT, self.place)[0])))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        # Rows and elements meet the key by xor alone: torch.compile would multiply them by the constant of `fold` as if
        # they were indices of memory, whose products must not overflow.
        rows = torch.arange(len(x), device=x.device) + rank() * len(x)
        hashes = mix(self.key ^ rows).view(-1, *[1] * (x.dim() - 1))
        if not self.rows:
            hashes = mix(hashes ^ torch.arange(math.prod(x.shape[1:]), device=x.device).view(1, *x.shape[1:]))
        self.key.copy_(fold(self.key, 0))  # another pass of this step drops others
        return (x * self.scale).masked_fill(shift_right(hashes, 40) < round(self.p * 2**24), 0.0)

    def extra_repr(self) -> str:
        return f"p={self.p}, rows={self.rows}"


def drop_paths(net: nn.Module, p: float) -> None:
    """Let both branches of each block of a ViT of timm drop whole images in training, with chances from 0 in the first
    block to `p` in the last. Another network stays as it is."""
    blocks = [block for block in getattr(net, "blocks", ()) if hasattr(block, "drop_path1")]
    for block, chance in zip(blocks, torch.linspace(0, p, len(blocks)).tolist(), strict=True):
        if chance:
            block.drop_path1, block.drop_path2 = (StochasticDepth(chance, "row").train(net.training) for _ in range(2))


def keyed(net: nn.Module) -> nn.Module:
    """`net` with each dropout of torch, torchvision and timm that drops anything replaced by a KeyedDropout.

    A function called inside of a forward, such as `F.dropout`, stays as it is.
    """
    for name, module in list(net.named_modules(remove_duplicate=False)):
        if (new := _keyed(module, name)) is not None:
            parent, _, last = name.rpartition(".")
            setattr(net.get_submodule(parent), last, new.train(module.training))
    return net


def _keyed(module: nn.Module, place: str) -> KeyedDropout | None:
    match module:
        case nn.Dropout(p=p) if p > 0:
            return KeyedDropout(p, place, scale=_kept(p))
        case StochasticDepth(p=p, mode="row") if p > 0:
            return KeyedDropout(p, place, scale=_kept(p), rows=True)
    timm: Any = sys.modules.get("timm.layers.drop")  # imported by networks of timm alone: it takes half a second
    if timm and isinstance(module, timm.DropPath) and (p := getattr(module, "drop_prob", 0.0)):
        return KeyedDropout(p, place, scale=_kept(p) if module.scale_by_keep else 1.0, rows=True)
    return None


def _kept(p: float) -> float:
    """The factor of what is kept, which leaves the mean as it was."""
    return 1 / (1 - p) if p < 1 else 1.0


def begin_step(net: nn.Module, seed: int, step: int) -> None:
    """Start a step in each KeyedDropout of `net`."""
    for module in net.modules():
        if isinstance(module, KeyedDropout):
            module.begin(seed, step)
