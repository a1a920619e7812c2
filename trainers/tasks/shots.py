"""The task `shots`."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from ...shards.files import atomic, writing
from ..evals import classify, shots, tau
from ..evals.checks import require_finite
from ..ranks import rank
from .classes import compare_classes
from .model import EvaluatedModel, Results
from .options import Shots
from .results import AGAIN


def measure(options: Shots, model: EvaluatedModel) -> Results:
    train, val = model.open_pair(options, "shots")
    model.compare(train, val)
    counts = torch.from_numpy(np.bincount(train.label, minlength=len(train.info.classes)))
    shots.group_of(counts, rule=options.rule)  # too few classes are an error before the features
    compare_classes(model, train, rule=options.rule, other=options.other_classes)
    x, labels = (t.cpu() for t in model.features(val))
    head = model.head(x.shape[1], len(counts))
    with torch.no_grad():
        scores = head(x)  # [N, C]
    require_finite(scores, "scores")
    yield from classify.accuracy(scores, labels)
    yield from shots.shots(scores, labels, counts, rule=options.rule)
    if options.tau:
        yield from _tau_norm(head, x, labels, counts, options.rule)
    if not rank():  # when all numbers are out
        accuracy = classify.per_class(scores, labels, len(counts))
        _write(Path(options.checkpoint).with_name("per_class.parquet"), train.info.classes, counts, accuracy)


@torch.no_grad()
def _tau_norm(head: nn.Module, x: Tensor, labels: Tensor, counts: Tensor, rule: shots.Rule) -> Results:
    """The numbers of `tau.tau_norm` for any classifier. That of unit features ranks its classes as that of `x` does."""
    rows = next(m for m in head.modules() if isinstance(m, nn.Linear))
    norms = [m for m in head.modules() if isinstance(m, nn.BatchNorm1d)]
    weight, mean, shift = tau.folded(rows, norms[0]) if norms else (rows.weight, 0.0, 0.0)
    yield from tau.tau_norm(x, weight, labels, counts, mean=mean, shift=shift, rule=rule)


def _write(path: Path, names: tuple[str, ...], counts: Tensor, accuracy: Tensor) -> None:
    """Write a table with one row per class."""
    table = pa.table({"class": list(names), "train_images": counts.numpy(), "top1": accuracy.numpy()})
    with writing(path, AGAIN), atomic(path) as file:
        pq.write_table(table, file)
