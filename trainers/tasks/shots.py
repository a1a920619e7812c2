"""The task `shots`."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from ...shards.files import atomic, writing
from ...shards.manifest import Manifest
from ..evals import classify, shots, tau
from ..evals.checks import require_finite
from ..ranks import rank
from .classes import compare_classes
from .model import EvaluatedModel, Results
from .options import Evaluation, Shots
from .results import AGAIN


def measure(options: Shots, model: EvaluatedModel) -> Results:
    train, val = model.open_pair(options, "shots")
    model.compare(train, val)
    counts = torch.tensor(train.counts)
    shots.group_of(counts, rule=options.rule)  # too few classes are an error before the features
    compare_classes(model, train, rule=options.rule, other=options.other_classes)
    yield from tested(options, model, val, counts)


def tested(options: Shots, model: EvaluatedModel, val: Manifest, counts: Tensor) -> Results:
    """The numbers of the checkpoint's classifier on `val`, whose classes are grouped by `counts` [C]; the table of
    classes is written beside the checkpoint."""
    x, labels = (t.cpu() for t in model.features(val))
    head = model.head(x.shape[1], len(counts))
    with torch.no_grad():
        scores = head(x)  # [N, C]
    require_finite(scores, "scores")
    yield from shots.top1_and_shots(scores, labels, counts, rule=options.rule)
    by_class = {"top1": classify.per_class(scores, labels, len(counts))}
    for t, normalized in _tau_scores(head, x) if options.tau else ():
        top = shots.shots(normalized, labels, counts, rule=options.rule)
        yield from ((f"tau={t:g} {name}", value) for name, value in top)
        yield from ((f"tau={t:g} {name}", value) for name, value in classify.accuracy(normalized, labels, (5,)))
        by_class[f"top1 tau={t:g}"] = classify.per_class(normalized, labels, len(counts))
    if not rank():  # when all numbers are out
        write_classes(options, val.info.classes, counts, by_class)


@torch.no_grad()
def _tau_scores(head: nn.Module, x: Tensor) -> Iterator[tuple[float, Tensor]]:
    """`tau.tau_scores` of any classifier: that of unit features ranks its classes as that of `x` does."""
    rows = next(m for m in head.modules() if isinstance(m, nn.Linear))
    norms = [m for m in head.modules() if isinstance(m, nn.BatchNorm1d)]
    weight, mean, shift = tau.folded(rows, norms[0]) if norms else (rows.weight, 0.0, 0.0)
    yield from tau.tau_scores(x, weight, mean=mean, shift=shift)


def write_classes(options: Evaluation, names: tuple[str, ...], counts: Tensor, accuracy: Mapping[str, Tensor]) -> None:
    """Write `per_class.parquet` beside the checkpoint: training images [C] and accuracies [C] of each class."""
    path = Path(options.checkpoint).with_name("per_class.parquet")
    columns = {name: values.cpu().numpy() for name, values in accuracy.items()}
    table = pa.table({"class": list(names), "train_images": counts.cpu().numpy(), **columns})
    with writing(path, AGAIN), atomic(path) as file:
        pq.write_table(table, file)
