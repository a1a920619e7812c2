"""The task `knn`."""

from dataclasses import dataclass
from typing import Annotated, Any

import torch.distributed as dist
from torch import Tensor

from ..data import Sets
from ..evals import knn
from ..evals.neighbors import shuffled
from ..ranks import rank, world_size
from .evaluation import EvaluatedModel, Evaluation, Results


@dataclass(frozen=True, kw_only=True)
class Knn(Evaluation, Sets):
    """Nearest neighbors: --data images vote on the class of --val images"""

    k: Annotated[int, "neighbors of the weighted vote", 1] = 200
    temperature: Annotated[float, "temperature of the weighted vote", 1e-4] = 0.07
    max_k: Annotated[int, "best-NN tries 1, 3, 5, ... up to this", 1] = 101
    rep_space: Annotated[tuple[str, ...], "spaces of best-NN: original, norm, shift-norm"] = ("original", "norm")
    gpus: Annotated[int, "parts of the training set for shift-norm, one per GPU of the release", 1] = 1
    part_batch: Annotated[int, "mini-batch whose mean shift-norm subtracts", 1] = 512

    def measure(self, model: EvaluatedModel) -> Results:
        train, val = model.open_pair(self, "kNN")
        model.compare(train, val)
        sets = (*model.features(train), *model.features(val))
        queries = len(sets[3])
        part = knn.share(queries, world_size(), rank())
        hits = knn.weighted_hits(*sets, k=self.k, temperature=self.temperature, part=part)
        yield f"knn/top1 k={self.k} T={self.temperature}", int(_summed(hits)) / queries
        orders = shuffled(train.uid).to(model.device), shuffled(val.uid).to(model.device)
        common: dict[str, Any] = {"max_k": self.max_k, "gpus": self.gpus, "batch": self.part_batch, "orders": orders}
        for space in self.rep_space:
            hits = knn.best_nn_hits(*sets, space=space, part=part, **common)
            yield from knn.best_of(_summed(hits), queries, space)


def _summed(hits: Tensor) -> Tensor:
    """Sum over all ranks."""
    if world_size() > 1:
        dist.all_reduce(hits)
    return hits
