"""The host renderer: what the device renderer does, on the CPU, an image at a time.

An image's three planes of floats stay in a core's cache from its first op to its last, and ops that are off cost
nothing; so on a CPU this is some 20 times as fast as whole batches of tensors. It takes the same packed parameters and
gives the device renderer's values to a thousandth of a level, whatever the number of threads.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ..spec import ColorJitter, GaussianBlur, Grayscale, HideAndSeek, Normalize, Op, Solarize
from .device import reach, width
from .host_kernels import BLUR, GREY, JITTER, MASK, NORMALIZE, SOLARIZE, render_all

CODES: dict[type[Op], int] = {
    **{ColorJitter: JITTER, Grayscale: GREY, GaussianBlur: BLUR},
    **{Solarize: SOLARIZE, Normalize: NORMALIZE, HideAndSeek: MASK},
}


def render(ops: tuple[Op, ...], pixels: Tensor, packed: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """As `device.render`: [N, S, S, 3] uint8 -> [N, 3, S, S] `dtype`, channels_last; on torch's number of threads."""
    n, size = pixels.shape[:2]
    out = torch.empty((n, size, size, 3))
    program = _program(ops, size)
    flat = (n, 3 * size * size)
    source, rows, target = pixels.contiguous().view(flat).numpy(), packed.numpy(), out.view(flat).numpy()
    threads = max(1, min(torch.get_num_threads(), n))
    step = -(-n // threads) or 1
    parts = [slice(at, at + step) for at in range(0, n, step)]
    tasks = [_pool(threads).submit(render_all, source[p], size, *program, rows[p], target[p]) for p in parts]
    for task in tasks:
        task.result()
    return out.permute(0, 3, 1, 2).to(dtype)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="render")


# A forked process inherits the pools but not their threads, and would wait for them for ever.
os.register_at_fork(after_in_child=_pool.cache_clear)


@cache
def _program(ops: tuple[Op, ...], size: int) -> tuple[np.ndarray, np.ndarray]:
    """[ops, 2] codes and first columns of their parameters; [ops, 6] constants."""
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
