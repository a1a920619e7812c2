"""The task `logreg`: logistic regression on fixed features of all training images, or of keyed draws of some."""

import logging

import numpy as np
import torch
from torch import Tensor

from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ...shards.subsets.draws import keyed_rank
from ..evals import classify, logreg, shots
from ..ranks import rank
from .labels import drawn, grouping, summary
from .model import EvaluatedModel, Results
from .options import Logreg
from .shots import write_classes

LOG = logging.getLogger(__name__)

HELD_OUT = 5  # one of so many images of a class is held out in a search


def measure(options: Logreg, model: EvaluatedModel) -> Results:
    train, val = model.open_pair(options, "logreg")
    model.compare(train, val)
    draws, counts = list(drawn(options, train)), grouping(options, model, train)  # errors come before the features
    (x, y), (queries, labels) = model.features(train), model.features(val)
    counts, found, by_class = counts.to(labels.device), [], []
    for rows in draws:
        here = torch.from_numpy(rows).to(x.device)
        c = options.c if options.c != "search" else _searched(x[here], y[here], train, rows)
        fitted = logreg.fit(x[here], y[here], len(counts), c)
        if fitted.iterations >= logreg.ITERATIONS and not rank():
            LOG.warning(f"note: not at its optimum after {fitted.iterations} iterations with --c {c:g}")
        scores = fitted.scores(queries)
        found.append({"c": c, **dict(shots.top1_and_shots(scores, labels, counts, rule=options.rule))})
        by_class.append(classify.per_class(scores, labels, len(counts)))
    yield from summary(found)
    if len(by_class) == 1 and not rank():
        write_classes(options, val.info.classes, counts, {"top1": by_class[0]})


def _searched(x: Tensor, y: Tensor, train: Manifest, rows: np.ndarray) -> float:
    """The best strength on a fifth of each class, at least one image of two or more."""
    label = train.label[rows]
    have = np.bincount(label, minlength=len(train.info.classes))
    held = np.where(have > 1, np.maximum(have // HELD_OUT, 1), 0)
    out = keyed_rank(train.uid[rows], label, HELD_OUT) < held[label]
    if not out.any():
        raise UserError("one image of each class leaves none to search the strength on: name it, as in --c 1")
    return logreg.searched(x, y, len(have), torch.from_numpy(out).to(x.device))
