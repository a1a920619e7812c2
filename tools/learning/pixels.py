"""kNN on raw pixels: what any network has to beat."""

from pathlib import Path

import torch
from torch import Tensor

from viewstream.pipeline.choose import open_set
from viewstream.shards.manifest import Manifest
from viewstream.trainers.data import Loading
from viewstream.trainers.evals import knn
from viewstream.trainers.loaders import evaluating


def pixel_numbers(data: Path, val: Path, size: int, k: int) -> dict[str, float]:
    """Top-1 of the vote of the `k` nearest images of `data`, by the cosine of their pixels."""
    (x, y), (queries, labels) = (_pixels(open_set(str(path)), size) for path in (data, val))
    hits = knn.weighted_hits(x, y, queries, labels, k=k, temperature=0.07)
    return {f"knn/top1 k={k} T=0.07": int(hits) / len(labels)}


def _pixels(data: Manifest, size: int) -> tuple[Tensor, Tensor]:
    """[N, 3 x size x size] normalized pixels and labels [N], in the order of the loader."""
    loader = evaluating(data, size, 256, Loading(loader="memory", workers=1), torch.device("cpu"))
    try:
        batches = [(batch.views[0].flatten(1).float(), batch.target) for batch in loader.epoch(0)]
    finally:
        loader.close()
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
