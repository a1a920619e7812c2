"""Random masks over parameters: hashes of seed, step and name, the same on every rank, device and resume."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...augment.draw import hashed
from ...augment.renderers.keyed import mix, shift_right, signed
from ...shards.errors import choose
from ...shards.keyed import STEP, Purpose
from ...shards.manifest import uid_of

GRANULARITIES = ("tensor", "layer", "channel", "element")
Shape = tuple[int, ...]


def mask_shapes(net: nn.Module, granularity: str) -> tuple[list[str], list[Shape]]:
    """Names and mask shapes of the parameters, in order. A name keys a mask; the shape broadcasts to its parameter.

    `tensor`: one value per parameter; `layer`: one for all parameters of a module; `channel`: one per index of
    dimension 0; `element`: one per number. UserError for another granularity.
    """
    choose("granularity", granularity, GRANULARITIES)
    names, shapes = zip(*((name, tuple(p.shape)) for name, p in net.named_parameters()), strict=True)
    if granularity == "element":
        return list(names), list(shapes)
    if granularity == "channel":
        return list(names), [shape[:1] + (1,) * (len(shape) - 1) for shape in shapes]
    owners = [name.rpartition(".")[0] for name in names]
    return owners if granularity == "layer" else list(names), [()] * len(names)


def bernoulli_masks(
    names: Sequence[str],
    shapes: Sequence[Shape],
    preserve: float,
    *,
    seed: int,
    step: int,
    device: torch.device | str = "cpu",
) -> list[Tensor]:
    """Bool masks for the names and shapes that `mask_shapes` returned; each value is true with chance 1 - preserve.

    A pure function. The host makes one key per name and the device computes the masks; the host does not wait for it.
    """
    sizes = [math.prod(shape) for shape in shapes]
    begins = np.cumsum([0, *sizes[:-1]]).astype(np.uint64)
    keys = hashed(seed, step, Purpose.MASKS, np.array([uid_of(name) for name in names], np.uint64))  # [T]
    with np.errstate(over="ignore"):
        keys -= STEP * begins  # so that one index can count through all tensors
    words = torch.from_numpy(np.stack([keys.view(np.int64), np.array(sizes)]))  # [2, T]
    if torch.device(device).type == "cuda":
        words = words.pin_memory().to(device, non_blocking=True)
    key, size = words
    index = torch.arange(1, sum(sizes) + 1, device=device)
    hashes = mix(key.repeat_interleave(size, output_size=len(index)) + signed(int(STEP)) * index)  # [P]
    moves = shift_right(hashes, 11) >= math.ceil(preserve * 2**53)  # draw.uniforms(hashes) >= preserve, in integers
    return [mask.view(shape) for mask, shape in zip(moves.split(sizes), shapes, strict=True)]
