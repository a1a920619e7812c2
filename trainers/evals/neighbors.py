"""Nearest rows of a bank of any size: similarities are computed block by block, and only the best are kept."""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from ...shards.errors import UserError, choose

BLOCK, SLICE = 65536, 512  # bank rows and queries per matrix product
SPACES = ("original", "norm", "shift-norm")
Rows = Callable[[int, int], Tensor]  # (start, end) -> those rows in the chosen space


def rows_of(x: Tensor, space: str, gpus: int = 1, batch: int = 512) -> Rows:
    """Features [N, D] -> a function (start, end) -> those rows in a space; it computes them per call, without a second
    copy of the bank.

    `original`: as they are. `norm`: unit rows. `shift-norm` (`shifted-norm` in ssl-small's readme): unit rows after the
    mean of their mini-batch is subtracted. The mini-batches depend on `gpus` and `batch` (spec small_sts A.9), not on
    this machine.
    """
    space = choose("space", {"shifted-norm": "shift-norm"}.get(space, space), SPACES)
    if space == "original":
        return lambda start, end: x[start:end]
    if space == "norm":
        return lambda start, end: F.normalize(x[start:end], dim=1)
    starts = batches(len(x), gpus, batch)
    means = torch.stack([x[a:b].mean(dim=0) for a, b in pairwise([*starts, len(x)])])  # [batches, D]
    inner = torch.tensor(starts[1:], dtype=torch.long, device=x.device)

    def shifted(start: int, end: int) -> Tensor:
        rows = means[torch.bucketize(torch.arange(start, end, device=x.device), inner, right=True)]
        return _unit_(torch.sub(x[start:end], rows, out=rows))

    return shifted


def _unit_(x: Tensor) -> Tensor:
    return F.normalize(x, dim=1, out=x)


def batches(samples: int, gpus: int, batch: int) -> list[int]:
    """First rows of the mini-batches: `gpus` contiguous parts, the first ones a row longer, each in `batch` rows."""
    if gpus < 1 or batch < 1:
        raise UserError(f"{gpus} GPUs with batches of {batch} see no features: both are 1 or more")
    edges = [part * (samples // gpus) + min(part, samples % gpus) for part in range(gpus + 1)]
    return [start for a, b in pairwise(edges) for start in range(a, b, batch)]


def nearest(bank: Rows, size: int, queries: Tensor, k: int, *, euclidean: bool) -> tuple[Tensor, Tensor]:
    """The `k` of `size` bank rows nearest to each query [n, D], nearest first: scores and row numbers, [n, k] each.

    The score is the inner product, or the distance if `euclidean`. Memory above the features: BLOCK x (D + SLICE) +
    4 n k floats, whatever `size` is.
    """
    slices = queries.split(SLICE)
    best: list[tuple[Tensor, Tensor]] = []
    for start in range(0, size, BLOCK):
        block = bank(start, min(start + BLOCK, size))
        offset = -0.5 * torch.linalg.vector_norm(block, dim=1).square() if euclidean else block.new_zeros(())
        more = [_best(torch.addmm(offset, part, block.T), k, start) for part in slices]
        best = [_merged(*two, k) for two in zip(best, more, strict=True)] if start else more
    score, rows = (torch.cat(parts) for parts in zip(*best, strict=True))
    if euclidean:  # |q - b|^2 = |q|^2 - 2 (q.b - |b|^2 / 2)
        score = (queries.square().sum(dim=1, keepdim=True) - 2 * score).clamp_(min=0).sqrt_()
    return score, rows


def _best(scores: Tensor, k: int, start: int) -> tuple[Tensor, Tensor]:
    """Highest `k` scores of a block [n, BLOCK] that begins at bank row `start`, and their row numbers."""
    score, at = scores.topk(min(k, scores.shape[1]), dim=1)
    return score, at + start


def _merged(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], k: int) -> tuple[Tensor, Tensor]:
    """Highest `k` of two (scores, row numbers)."""
    scores, rows = (torch.cat(two, dim=1) for two in zip(a, b, strict=True))
    score, at = scores.topk(min(k, scores.shape[1]), dim=1)
    return score, rows.gather(1, at)
