"""The labels that a classifier learns from: those of all training images, or of keyed draws of some."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ...shards.subsets.draws import keyed_rank
from ..evals.shots import group_of
from .model import EvaluatedModel, Results
from .options import FewLabels

OF_EACH_DRAW = ("best top1", "top1", "c")  # numbers that are reported for each draw beside mean and deviation


def drawn(options: FewLabels, train: Manifest) -> Iterator[np.ndarray]:
    """Rows of each draw, ascending: all rows once, or the first of each class in `draws` keyed orders. UserError for
    options that exclude each other, and for a class with too few images."""
    if options.per_class and options.fraction < 1:
        raise UserError("--per-class and --fraction both set the images per class: give one of them")
    if not 0 < options.fraction <= 1:
        raise UserError(f"--fraction {options.fraction} is not a share: take more than 0 and at most 1")
    have = np.array(train.counts)
    if not options.few:
        yield np.arange(len(train))
        return
    if options.per_class > have.min():
        least = int(have.argmin())
        raise UserError(
            f"--per-class {options.per_class}: class {train.info.classes[least]} of {train.root} has {have[least]} "
            "images: take fewer"
        )
    wanted = np.full(len(have), options.per_class or 1)
    wanted = np.maximum(wanted, np.rint(options.fraction * have)) if options.fraction < 1 else wanted
    for seed in range(options.draws):
        yield np.flatnonzero(keyed_rank(train.uid, train.label, seed) < wanted[train.label])


def grouping(options: FewLabels, model: EvaluatedModel, train: Manifest) -> Tensor:
    """Images of each class [C] by which classes are many, medium or few. UserError for a checkpoint of other classes,
    and for classes that cannot be grouped."""
    counts = train.counts
    if options.counts == "checkpoint":
        names, counts = (model.weights.classes.get(part, []) for part in ("names", "counts"))
        if list(names) != list(train.info.classes):
            reason = "names no classes" if not names else f"was trained on other classes than {train.root} has"
            raise UserError(f"{model.path} {reason}: group them by --counts data")
    group_of(found := torch.tensor(counts), rule=options.rule)
    return found


def summary(found: list[dict[str, float]]) -> Results:
    """The numbers of one classifier; of several draws those of OF_EACH_DRAW, then mean and standard deviation of each
    accuracy."""
    if len(found) == 1:
        yield from found[0].items()
        return
    for number, values in enumerate(found):
        yield from ((f"draw {number} {name}", values[name]) for name in OF_EACH_DRAW if name in values)
    for name in found[0]:
        if name != "c":
            values = np.array([one[name] for one in found])
            yield f"{name} mean", float(values.mean())
            yield f"{name} std", float(values.std())
