"""The task `knn`."""

from typing import Any

from ..evals import knn
from ..evals.neighbors import shuffled
from ..ranks import rank, summed, world_size
from .model import EvaluatedModel, Results
from .options import Knn


def measure(options: Knn, model: EvaluatedModel) -> Results:
    train, val = model.open_pair(options, "kNN")
    model.compare(train, val)
    sets = (*model.features(train), *model.features(val))
    queries = len(sets[3])
    part = knn.share(queries, world_size(), rank())
    hits = knn.weighted_hits(*sets, k=options.k, temperature=options.temperature, part=part)
    yield f"knn/top1 k={options.k} T={options.temperature}", int(summed(hits)) / queries
    orders = shuffled(train.uid).to(model.device), shuffled(val.uid).to(model.device)
    common: dict[str, Any] = {
        "max_k": options.max_k,
        "gpus": options.gpus,
        "batch": options.part_batch,
        "orders": orders,
    }
    for space in options.rep_space:
        hits = knn.best_nn_hits(*sets, space=space, part=part, **common)
        yield from knn.best_of(summed(hits), queries, space)
