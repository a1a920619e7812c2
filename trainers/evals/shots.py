"""Accuracy of classes grouped by their number of training images: many, medium and few shots (spec balfeat_seed 8).

Many: more than 100 images. Few: at most 20 by the rule of BalFeat, fewer than 20 by the rule of OLTR; ten classes of
ImageNet-LT have exactly 20.
"""

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from ...shards.errors import UserError, choose
from .classify import per_class

MANY, FEW = 100, 20
GROUPS = ("many", "medium", "few")
Rule = Literal["balfeat", "oltr"]


def shots(scores: Tensor, labels: Tensor, counts: Tensor, *, rule: Rule = "balfeat") -> Iterator[tuple[str, float]]:
    """Yield the mean accuracy over the classes of each group (nan for an empty group), then that over all images.

    Scores [N, C] and labels [N] of test images; `counts` [C]: training images of each class. UserError for a class
    without test images: its accuracy is unknown."""
    accuracy = per_class(scores, labels, len(counts))
    if len(absent := accuracy.isnan().nonzero()):
        raise UserError(
            f"{len(absent)} classes have no test images, the first is class {int(absent[0])}: "
            f"name a --val that has all of them"
        )
    for name, value in zip(GROUPS, groups(accuracy, counts, rule=rule).tolist(), strict=True):
        yield f"shots/{name}", value
    yield "shots/all", float((scores.argmax(dim=1) == labels).double().mean())


def groups(accuracy: Tensor, counts: Tensor, *, rule: Rule = "balfeat") -> Tensor:
    """Accuracies [C] and training counts [C] -> unweighted class means of many, medium and few, [3] float64."""
    group = group_of(counts, rule=rule)
    return torch.stack([accuracy[group == number].double().mean() for number in range(len(GROUPS))])


def group_of(counts: Tensor, *, rule: Rule = "balfeat") -> Tensor:
    """Training counts [C] -> the position of each class's group in GROUPS, [C]."""
    few = counts <= FEW if choose("rule", rule, ("balfeat", "oltr")) == "balfeat" else counts < FEW
    return torch.where(few, 2, torch.where(counts > MANY, 0, 1))
