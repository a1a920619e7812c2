"""Accuracy by how often a class was seen in training: many, medium and few shots (spec balfeat_seed 8).

Many have more than 100 training images. Few have at most 20 by BalFeat's rule and fewer than 20 by OLTR's; ten classes
of ImageNet-LT have exactly 20.
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
    """Means over the classes of each group, and the fraction of all images; nan for a group without classes.

    Scores [N, C] and labels [N] of test images, training images of each class `counts` [C]. UserError names a class
    without test images, whose accuracy nobody knows."""
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
    few = counts <= FEW if choose("rule", rule, ("balfeat", "oltr")) == "balfeat" else counts < FEW
    many = counts > MANY
    return torch.stack([accuracy[mask].double().mean() for mask in (many, ~many & ~few, few)])
