"""Accuracy of classes grouped by their number of training images: many, medium and few shots (spec balfeat_seed 8).

Many: more than 100 images. Few: at most 20 by the rule of BalFeat, fewer than 20 by the rule of OLTR; ten classes of
ImageNet-LT have exactly 20. `thirds`, for sets whose counts are others: the classes by their counts, cut in three as
SDCLR cuts them (arXiv:2106.06042); the standard deviation of the three means is its balancedness, 0 at best.
"""

from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import Tensor

from ...shards.errors import UserError, choose, plural
from . import classify

MANY, FEW = 100, 20
GROUPS = ("many", "medium", "few")
Rule = Literal["balfeat", "oltr", "thirds"]


def shots(scores: Tensor, labels: Tensor, counts: Tensor, *, rule: Rule = "balfeat") -> Iterator[tuple[str, float]]:
    """Yield the mean accuracy over the classes of each group (nan for an empty group), with `thirds` their standard
    deviation, then the accuracy over all images.

    Scores [N, C] and labels [N] of test images; `counts` [C]: training images of each class. UserError for a class
    without test images, whose accuracy is unknown, and for thirds of fewer than 3 classes."""
    accuracy = classify.per_class(scores, labels, len(counts))
    if len(absent := accuracy.isnan().nonzero()):
        raise UserError(
            f"no test images of {plural(len(absent), 'class')}, the first is class {int(absent[0])}: "
            f"name a --val that has all of them"
        )
    means = groups(accuracy, counts, rule=rule)
    for name, value in zip(GROUPS, means.tolist(), strict=True):
        yield f"shots/{name}", value
    if rule == "thirds":
        yield "shots/std", float(means.std(correction=0))
    yield "shots/all", float((scores.argmax(dim=1) == labels).double().mean())


def top1_and_shots(scores: Tensor, labels: Tensor, counts: Tensor, *, rule: Rule) -> Iterator[tuple[str, float]]:
    """Yield the top-1 accuracy, then what `shots` yields."""
    yield from classify.accuracy(scores, labels)
    yield from shots(scores, labels, counts, rule=rule)


def groups(accuracy: Tensor, counts: Tensor, *, rule: Rule = "balfeat") -> Tensor:
    """Accuracies [C] and training counts [C] -> unweighted class means of many, medium and few, [3] float64."""
    group = group_of(counts, rule=rule)
    return torch.stack([accuracy[group == number].double().mean() for number in range(len(GROUPS))])


def dividing(counts: Tensor) -> Rule | None:
    """The rule by which classes with training counts [C] fall into several groups: that of BalFeat, else thirds; None
    for equal counts or fewer than 3 classes."""
    if len(group_of(counts).unique()) > 1:
        return "balfeat"
    return "thirds" if len(counts) >= len(GROUPS) and len(counts.unique()) > 1 else None


def group_of(counts: Tensor, *, rule: Rule = "balfeat") -> Tensor:
    """Training counts [C] -> the position of each class's group in GROUPS, [C]; of equal counts the first class is
    counted as the smaller."""
    if choose("rule", rule, get_args(Rule)) == "thirds":
        third = len(counts) // len(GROUPS)
        if not third:
            raise UserError(f"{len(counts)} classes cannot be cut in three: name --rule balfeat or oltr")
        place = counts.argsort(stable=True).argsort()  # of each class, from the smallest
        return 2 - (place // third).clamp(max=2)
    few = counts <= FEW if rule == "balfeat" else counts < FEW
    return torch.where(few, 2, torch.where(counts > MANY, 0, 1))
