"""Nearest rows of a bank of any size: similarities are computed block by block, and only the best are kept."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...augment.draw import hashed
from ...shards.errors import UserError, choose
from ...shards.keyed import Purpose
from ...shards.progress import Bar
from ..ranks import rank

BLOCK, SLICE = 65536, 512  # bank rows and queries per matrix product
SPACES = ("original", "norm", "shift-norm")
Rows = Callable[[int, int], Tensor]  # (start, end) -> those rows in the chosen space
Orders = tuple[Tensor | None, Tensor | None]  # orders of the bank and the queries that mini-batches are cut from
AS_THEY_ARE: Orders = (None, None)


def rows_of(x: Tensor, space: str, gpus: int = 1, batch: int = 512, order: Tensor | None = None) -> Rows:
    """Features [N, D] -> a function (start, end) -> those rows in a space; it computes them per call, without a second
    copy of the bank.

    `original`: as they are. `norm`: unit rows. `shift-norm` (`shifted-norm` in ssl-small's readme): unit rows after the
    mean of their mini-batch is subtracted. The mini-batches depend on `gpus` and `batch` (spec small_sts A.9), not on
    this machine, and are cut from the rows in `order` [N], a permutation (`shuffled`); None: as they are.
    """
    space = choose("space", {"shifted-norm": "shift-norm"}.get(space, space), SPACES)
    if space == "original":
        return lambda start, end: x[start:end]
    if space == "norm":
        return lambda start, end: F.normalize(x[start:end], dim=1)
    starts = batches(len(x), gpus, batch)
    rows_in = [slice(a, b) if order is None else order[a:b] for a, b in pairwise([*starts, len(x)])]
    means = torch.stack([x[rows].mean(dim=0) for rows in rows_in])  # [batches, D]
    at = torch.arange(len(x), device=x.device) if order is None else order.argsort()  # [N] place of each row
    number = torch.bucketize(at, torch.tensor(starts[1:], dtype=torch.long, device=x.device), right=True)

    def shifted(start: int, end: int) -> Tensor:
        rows = means[number[start:end]]
        return _unit_(torch.sub(x[start:end], rows, out=rows))

    return shifted


def _unit_(x: Tensor) -> Tensor:
    return F.normalize(x, dim=1, out=x)


def shuffled(uid: np.ndarray, seed: int = 0) -> Tensor:
    """A permutation [N] that does not depend on the order of the rows `uid` [N]: the loaders of the release shuffle."""
    return torch.from_numpy(hashed(seed, Purpose.MINI_BATCHES, uid).argsort(kind="stable"))


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
    with Bar(size, "row", "nearest", quiet=size <= BLOCK or bool(rank())) as bar:
        for start in range(0, size, BLOCK):
            block = bank(start, min(start + BLOCK, size))
            offset = -0.5 * torch.linalg.vector_norm(block, dim=1).square() if euclidean else block.new_zeros(())
            more = [_best(torch.addmm(offset, part, block.T), k, start) for part in slices]
            best = [_merged(*two, k) for two in zip(best, more, strict=True)] if start else more
            bar.update(len(block))
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
