"""The task `logreg`: logistic regression on fixed features of all training images, or of keyed draws of some."""

import sys
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ...shards.subsets.draws import keyed_rank
from ..evals import classify, logreg, shots
from ..ranks import rank
from .model import EvaluatedModel, Results
from .options import Logreg

HELD_OUT = 5  # one of so many images of a class is held out in a search


def measure(options: Logreg, model: EvaluatedModel) -> Results:
    train, val = model.open_pair(options, "logreg")
    model.compare(train, val)
    draws, counts = list(drawn(options, train)), _counts(options, model, train)
    shots.group_of(counts, rule=options.rule)  # too few classes are an error before the features
    (x, y), (queries, labels) = model.features(train), model.features(val)
    counts, found = counts.to(labels.device), []
    for rows in draws:
        here = torch.from_numpy(rows).to(x.device)
        c = options.c if options.c != "search" else _searched(x[here], y[here], train, rows)
        fitted = logreg.fit(x[here], y[here], len(counts), c)
        if fitted.iterations >= logreg.ITERATIONS and not rank():
            print(f"note: not at its optimum after {fitted.iterations} iterations with --c {c:g}", file=sys.stderr)
        scores = fitted.scores(queries)
        found.append({"c": c, **_numbers(scores, labels, counts, options)})
    yield from _summary(found)


def drawn(options: Logreg, train: Manifest) -> Iterator[np.ndarray]:
    """Rows of each draw, ascending: all rows once, or the first of each class in `draws` keyed orders. UserError for
    options that exclude each other, and for a class with too few images."""
    if options.per_class and options.fraction < 1:
        raise UserError("--per-class and --fraction both set the images per class: give one of them")
    if not 0 < options.fraction <= 1:
        raise UserError(f"--fraction {options.fraction} is not a share: take more than 0 and at most 1")
    have = np.array(train.counts)
    if not options.per_class and options.fraction == 1:
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


def _counts(options: Logreg, model: EvaluatedModel, train: Manifest) -> Tensor:
    """Images of each class [C] by which classes are many, medium or few."""
    if options.counts == "data":
        return torch.tensor(train.counts)
    names, counts = (model.weights.classes.get(part, []) for part in ("names", "counts"))
    if list(names) != list(train.info.classes):
        reason = "names no classes" if not names else f"was trained on other classes than {train.root} has"
        raise UserError(f"{model.path} {reason}: group them by --counts data")
    return torch.tensor(counts)


def _searched(x: Tensor, y: Tensor, train: Manifest, rows: np.ndarray) -> float:
    """The best strength on a fifth of each class, at least one image of two or more."""
    label = train.label[rows]
    have = np.bincount(label, minlength=len(train.info.classes))
    held = np.where(have > 1, np.maximum(have // HELD_OUT, 1), 0)
    out = keyed_rank(train.uid[rows], label, HELD_OUT) < held[label]
    if not out.any():
        raise UserError("one image of each class leaves none to search the strength on: name it, as in --c 1")
    return logreg.searched(x, y, len(have), torch.from_numpy(out).to(x.device))


def _numbers(scores: Tensor, labels: Tensor, counts: Tensor, options: Logreg) -> dict[str, float]:
    return dict(classify.accuracy(scores, labels)) | dict(shots.shots(scores, labels, counts, rule=options.rule))


def _summary(found: list[dict[str, float]]) -> Results:
    """The numbers of one fit; of several draws each accuracy, then mean and standard deviation of each number."""
    if len(found) == 1:
        yield from found[0].items()
        return
    for number, values in enumerate(found):
        yield f"draw {number} top1", values["top1"]
        yield f"draw {number} c", values["c"]
    for name in found[0].keys() - {"c"}:
        values = np.array([one[name] for one in found])
        yield f"{name} mean", float(values.mean())
        yield f"{name} std", float(values.std())
