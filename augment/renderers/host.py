"""The host renderer: does on the CPU, one image at a time, what the device renderer does on whole batches.

The three float planes of an image stay in a core's cache from the first op to the last, and an op that is off costs
nothing, so on a CPU this is about 20 times as fast as whole batches of tensors. It reads the same packed parameters and
gives the values of the device renderer to a thousandth of a level, with any number of threads.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from ..spec import ColorJitter, GaussianBlur, Grayscale, HideAndSeek, Normalize, Op, Solarize
from .host_kernels import BLUR, GRAY, JITTER, MASK, NORMALIZE, SOLARIZE, render_all
from .packing import reach, width

CODES: dict[type[Op], int] = {
    ColorJitter: JITTER,
    Grayscale: GRAY,
    GaussianBlur: BLUR,
    Solarize: SOLARIZE,
    Normalize: NORMALIZE,
    HideAndSeek: MASK,
}


def render(
    ops: tuple[Op, ...], pixels: Tensor, packed: Tensor, dtype: torch.dtype = torch.float32, *, threads: int = 1
) -> Tensor:
    """[N, S, S, 3] uint8 -> [N, 3, S, S] `dtype`, channels_last, as `device.render`; on `threads` threads of its
    own."""
    n, size = pixels.shape[:2]
    out = torch.empty((n, size, size, 3))
    program = _program(ops, size)
    flat = (n, 3 * size * size)
    source, rows, target = pixels.contiguous().view(flat).numpy(), packed.numpy(), out.view(flat).numpy()
    threads = max(1, min(threads, n))
    if threads == 1:  # here: callers on several threads would wait for each other in a pool of one
        render_all(source, size, *program, rows, target)
        return out.permute(0, 3, 1, 2).to(dtype)
    step = -(-n // threads) or 1
    parts = [slice(at, at + step) for at in range(0, n, step)]
    tasks = [_pool(threads).submit(render_all, source[p], size, *program, rows[p], target[p]) for p in parts]
    for task in tasks:
        task.result()
    return out.permute(0, 3, 1, 2).to(dtype)


@cache
def threaded(threads: int) -> Callable[..., Tensor]:
    """`render` on so many threads."""
    return partial(render, threads=threads)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="render")


# A forked process inherits the pools without their threads and would wait for them forever.
os.register_at_fork(after_in_child=_pool.cache_clear)


@cache
def _program(ops: tuple[Op, ...], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes of `ops` and the first columns of their parameters, [ops, 2]; their constants, [ops, 6]."""
    table, constants, at = np.zeros((len(ops), 2), np.int64), np.zeros((len(ops), 6), np.float32), 0
    for row, op in enumerate(ops):
        table[row] = CODES[type(op)], at
        at += width(op, size)
        match op:
            case GaussianBlur():
                constants[row, 0] = reach(op)
            case Solarize():
                constants[row, 0] = op.threshold / 255
            case Normalize():
                constants[row] = (*op.mean, *(1 / s for s in op.std))
            case _:
                pass
    return table, constants
