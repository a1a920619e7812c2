"""Nearest-neighbour classifiers on features: the weighted cosine vote of the field, and ssl-small's best-NN."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 1024  # queries at a time: memory is CHUNK x bank floats, whatever the number of queries


def weighted(
    bank: Tensor, bank_labels: Tensor, queries: Tensor, labels: Tensor, *, k: int = 200, temperature: float = 0.07
) -> Iterator[tuple[str, float]]:
    """Cosine neighbours vote with exp(similarity / T) (arXiv:1805.01978). Bank [M, D], queries [N, D]; a fraction."""
    k, classes = min(k, len(bank)), int(bank_labels.max()) + 1
    bank, queries = F.normalize(bank, dim=1), F.normalize(queries, dim=1)
    hits = 0
    for rows, truth in zip(queries.split(CHUNK), labels.split(CHUNK), strict=True):
        similarity, at = (rows @ bank.T).topk(k, dim=1)  # [n, k]
        votes = rows.new_zeros(len(rows), classes)
        votes.scatter_add_(1, bank_labels[at], ((similarity - 1) / temperature).exp())
        hits += int((votes.argmax(dim=1) == truth).sum())
    yield f"knn/top1 k={k} T={temperature}", hits / len(labels)


def best_nn(
    bank: Tensor, bank_labels: Tensor, queries: Tensor, labels: Tensor, *, max_k: int = 101, space: str = "norm"
) -> Iterator[tuple[str, float]]:
    """The best accuracy over k = 1, 3, 5, ... max_k Euclidean neighbours with one vote each, and the smallest such k.

    Space `original` takes features as they are, `norm` unit vectors. Equal votes go to the smaller label.
    """
    if space == "norm":
        bank, queries = F.normalize(bank, dim=1), F.normalize(queries, dim=1)
    accuracy = best_nn_accuracies(bank, bank_labels, queries, labels, max_k)
    best = int(accuracy.argmax())
    yield f"best-nn/{space}", float(accuracy[best])
    yield f"best-nn/{space} k", 2 * best + 1


def best_nn_accuracies(bank: Tensor, bank_labels: Tensor, queries: Tensor, labels: Tensor, max_k: int) -> Tensor:
    """Accuracy for k = 1, 3, 5, ...: [number of odd k] float64."""
    top, classes = min(max_k, len(bank)), int(bank_labels.max()) + 1
    tie = torch.arange(classes, 0, -1, device=bank.device) / (classes + 1)  # less than one vote, more for small labels
    hits = torch.zeros((top + 1) // 2, dtype=torch.float64, device=bank.device)
    square = bank.square().sum(dim=1)
    for rows, truth in zip(queries.split(CHUNK), labels.split(CHUNK), strict=True):
        nearest = (square - 2 * rows @ bank.T).topk(top, dim=1, largest=False).indices  # [n, top]
        votes = tie.expand(len(rows), classes).clone()
        for k in range(top):
            votes.scatter_add_(1, bank_labels[nearest[:, k : k + 1]], votes.new_ones(len(rows), 1))
            if k % 2 == 0:
                hits[k // 2] += (votes.argmax(dim=1) == truth).sum()
    return hits / len(labels)
