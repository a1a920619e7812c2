"""Nearest-neighbor classifiers on features: the weighted cosine vote, and ssl-small's best-NN.

Several ranks share the queries: each counts the hits of its `share`. Hits are integers, so their sum over the ranks is
exact.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ...shards.errors import UserError
from .checks import require_finite
from .neighbors import AS_THEY_ARE, SLICE, Orders, Rows, nearest, rows_of

CHUNK = 8192  # queries compared with the bank together; neighbors.nearest states the memory
WHOLE = slice(None)


def weighted(
    bank: Tensor, bank_labels: Tensor, queries: Tensor, labels: Tensor, *, k: int = 200, temperature: float = 0.07
) -> Iterator[tuple[str, float]]:
    """Yield (name, accuracy): the `k` nearest by cosine vote with weight exp(similarity / T) (arXiv:1805.01978).

    Bank [M, D], queries [N, D], labels [M] and [N].
    """
    hits = weighted_hits(bank, bank_labels, queries, labels, k=k, temperature=temperature)
    yield f"knn/top1 k={k} T={temperature}", int(hits) / len(labels)


def weighted_hits(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    labels: Tensor,
    *,
    k: int,
    temperature: float,
    part: slice = WHOLE,
) -> Tensor:
    """Number of queries of `part` that the weighted vote classifies correctly: [] int64. UserError: `best_nn_hits`."""
    return weighted_right(bank, bank_labels, queries, labels, k=k, temperature=temperature, part=part).sum()


def weighted_right(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    labels: Tensor,
    *,
    k: int = 200,
    temperature: float = 0.07,
    part: slice = WHOLE,
) -> Tensor:
    """Whether the weighted vote classifies each query of `part` correctly: [n] bool. UserError: `best_nn_hits`."""
    _check(bank, bank_labels, queries, labels, k)
    right, classes = [labels.new_zeros(0, dtype=torch.bool)], int(bank_labels.max()) + 1
    bank_rows, query_rows = rows_of(bank, "norm"), rows_of(queries, "norm")
    for chunk in _chunks(len(queries), part):
        x = query_rows(chunk.start, chunk.stop)
        similarity, at = nearest(bank_rows, len(bank), x, k, euclidean=False)  # [n, k]
        weight = similarity.new_zeros(len(at), classes)
        weight.scatter_add_(1, bank_labels[at], ((similarity - 1) / temperature).exp())
        right.append(weight.argmax(dim=1) == labels[chunk])
    return torch.cat(right)


def best_nn(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    labels: Tensor,
    *,
    max_k: int = 101,
    space: str = "norm",
    gpus: int = 1,
    batch: int = 512,
) -> Iterator[tuple[str, float]]:
    """Yield the best accuracy over k = 1, 3, 5, ... max_k Euclidean neighbors with one vote each, then the smallest
    such k (spec small_sts A.9). For `space`, `gpus` and `batch` see `neighbors.rows_of`; rows are not shuffled."""
    hits = best_nn_hits(bank, bank_labels, queries, labels, max_k=max_k, space=space, gpus=gpus, batch=batch)
    yield from best_of(hits, len(labels), space)


def best_of(hits: Tensor, queries: int, space: str) -> Iterator[tuple[str, float]]:
    """Yield what `best_nn` yields, from the hits [number of odd k] summed over all ranks."""
    best = int((hits == hits.max()).nonzero()[0])
    yield f"best-nn/{space}", int(hits[best]) / queries
    yield f"best-nn/{space} k", 2 * best + 1


def best_nn_accuracies(bank: Tensor, bank_labels: Tensor, queries: Tensor, labels: Tensor, max_k: int) -> Tensor:
    """Accuracy for k = 1, 3, 5, ... in the space `original`: [number of odd k] float64."""
    return best_nn_hits(bank, bank_labels, queries, labels, max_k=max_k, space="original").double() / len(labels)


def best_nn_hits(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    labels: Tensor,
    *,
    max_k: int,
    space: str,
    gpus: int = 1,
    batch: int = 512,
    orders: Orders = AS_THEY_ARE,
    part: slice = WHOLE,
) -> Tensor:
    """Number of queries of `part` that each k = 1, 3, 5, ... classifies correctly: [number of odd k] int64.

    UserError for more neighbors than bank rows, features that are not finite, unlabeled rows, or an unknown space.
    """
    _check(bank, bank_labels, queries, labels, max_k)
    hits = torch.zeros((max_k + 1) // 2, dtype=torch.long, device=bank.device)
    bank_rows = rows_of(bank, space, gpus, batch, orders[0])
    query_rows = rows_of(queries, space, 1, batch, orders[1])
    for chunk, _, at in _euclidean(bank_rows, len(bank), query_rows, len(queries), max_k, part):
        hits += (votes(bank_labels[at]) == labels[chunk, None]).sum(dim=0)
    return hits


def neighbors(
    bank: Tensor, queries: Tensor, k: int, *, space: str = "original", gpus: int = 1, batch: int = 512
) -> tuple[Tensor, Tensor]:
    """Euclidean distances to the `k` nearest bank rows, ascending, and their row numbers: [N, k] each."""
    bank_rows, query_rows = rows_of(bank, space, gpus, batch), rows_of(queries, space, 1, batch)
    parts = [(d, at) for _, d, at in _euclidean(bank_rows, len(bank), query_rows, len(queries), k, WHOLE)]
    return torch.cat([d for d, _ in parts]), torch.cat([at for _, at in parts])


def votes(near: Tensor) -> Tensor:
    """Labels of neighbors [n, K], nearest first -> winners of 1, 3, 5, ... equal votes, [n, number of odd k]. The
    smallest label wins a tie.

    A label's votes only grow along a row, so the winner so far is the running maximum of (votes, smaller label).
    """
    k, labels = near.shape[1], int(near.max()) + 1
    order = near.argsort(dim=1, stable=True)
    ordered, at = near.gather(1, order), torch.arange(k, device=near.device)
    begins = torch.ones_like(ordered, dtype=torch.bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    count = at - torch.where(begins, at, 0).cummax(dim=1).values  # votes a label had before this one
    count = torch.empty_like(count).scatter_(1, order, count)
    best = (count * labels + labels - 1 - near).cummax(dim=1).values[:, ::2]
    return labels - 1 - best % labels


def share(queries: int, world_size: int, rank: int) -> slice:
    """The queries of a rank: whole slices, so that every number of ranks multiplies the same matrices."""
    slices = -(-queries // SLICE)
    return slice(*(min(slices * r // world_size * SLICE, queries) for r in (rank, rank + 1)))


def printed(values: dict[str, float], space: str) -> str:
    """The line that ssl-small prints for the values of `best_nn`."""
    return f"best-NN={100 * values[f'best-nn/{space}']:.2f}%, k={values[f'best-nn/{space} k']:.0f}."


def _euclidean(
    bank: Rows, size: int, query_rows: Rows, queries: int, k: int, part: slice
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield (chunk of the queries of `part`, distances, bank row numbers) of the `k` nearest."""
    for chunk in _chunks(queries, part):
        yield chunk, *nearest(bank, size, query_rows(chunk.start, chunk.stop), k, euclidean=True)


def _chunks(queries: int, part: slice) -> Iterator[slice]:
    start, end, _ = part.indices(queries)
    yield from (slice(at, min(at + CHUNK, end)) for at in range(start, end, CHUNK))


def _check(bank: Tensor, bank_labels: Tensor, queries: Tensor, labels: Tensor, k: int) -> None:
    for x in (bank, queries):
        require_finite(x)
    if not 1 <= k <= (n := len(bank)):
        raise UserError(f"{k} neighbors cannot vote among {n} training images: ask for 1 to {n} (--k, --max-k)")
    for kind, values in (("training", bank_labels), ("test", labels)):
        if not len(values) or int(values.min()) < 0:
            raise UserError(f"some {kind} images are unlabeled or there are none: kNN needs labels, name a labeled set")
