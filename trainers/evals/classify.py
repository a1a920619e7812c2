"""Accuracy of classification scores: top-k over all images, top-1 per class."""

from collections.abc import Iterator

import torch
from torch import Tensor


def accuracy(scores: Tensor, labels: Tensor, topk: tuple[int, ...] = (1, 5)) -> Iterator[tuple[str, float]]:
    """Yield (`top<k>`, fraction of images whose label is among the k highest scores) for each k up to C.

    Scores [N, C], labels [N].
    """
    best = scores.topk(min(max(topk), scores.shape[1]), dim=1).indices  # [N, k]
    for k in topk:
        if k <= scores.shape[1]:
            yield f"top{k}", int((best[:, :k] == labels[:, None]).any(dim=1).sum()) / len(labels)


def per_class(scores: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Top-1 accuracy of each class, [classes] float64; nan for a class without images."""
    return share_of_each(scores.argmax(dim=1) == labels, labels, classes)


def share_of_each(right: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The share of each class's images that are `right` [N] bool, [classes] float64; nan for a class without images."""
    counts = torch.bincount(labels, minlength=classes)
    return torch.bincount(labels, weights=right.double(), minlength=classes) / counts
