"""What can be evaluated: a task's options, and its numbers from a network's features."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.distributed as dist
from torch import Tensor

from ...shards.files import atomic
from ..data import Sets, open_pair
from ..evals import classify, instdisc, knn, shots, stats, tau, tsne
from ..ranks import rank, world_size
from .model import EvaluatedModel, Evaluation

Results = Iterator[tuple[str, float]]


@dataclass(frozen=True, kw_only=True)
class Knn(Evaluation, Sets):
    """Nearest neighbors: --val images ask, --data images vote"""

    k: Annotated[int, "neighbors of the weighted vote", 1] = 200
    temperature: Annotated[float, "of the weighted vote", 1e-4] = 0.07
    max_k: Annotated[int, "best-NN tries 1, 3, 5, ... up to this", 1] = 101
    rep_space: Annotated[tuple[str, ...], "spaces of best-NN: original, norm, shift-norm"] = ("original", "norm")
    gpus: Annotated[int, "parts that shift-norm cuts the training set into, as the release's GPUs do", 1] = 1
    part_batch: Annotated[int, "mini-batch whose mean shift-norm takes away", 1] = 512

    def measure(self, model: EvaluatedModel) -> Results:
        bank, queries = open_pair(self, "kNN")
        four = (*model.features(bank), *model.features(queries))
        asked = len(four[3])
        part = knn.share(asked, world_size(), rank())
        hits = knn.weighted_hits(*four, k=self.k, temperature=self.temperature, part=part)
        yield f"knn/top1 k={self.k} T={self.temperature}", int(_summed(hits)) / asked
        for space in self.rep_space:
            found = knn.best_nn_hits(
                *four, max_k=self.max_k, space=space, gpus=self.gpus, batch=self.part_batch, part=part
            )
            yield from knn.best_of(_summed(found), asked, space)


def _summed(hits: Tensor) -> Tensor:
    if world_size() > 1:
        dist.all_reduce(hits)
    return hits


@dataclass(frozen=True, kw_only=True)
class Shots(Evaluation, Sets):
    """A trained classifier on --val, by how many --data images its classes had"""

    rule: Annotated[Literal["balfeat", "oltr"], "few: at most 20 images (balfeat), or fewer than 20"] = "balfeat"
    tau: Annotated[bool, "also tau-normalized classifiers, for tau = 0, 0.1, ... 1"] = False

    def measure(self, model: EvaluatedModel) -> Results:
        train, val = open_pair(self, "shots")
        counts = torch.from_numpy(np.bincount(train.label, minlength=len(train.info.classes)))
        x, labels = (t.cpu() for t in model.features(val))
        head = model.head(x.shape[1], len(counts))
        with torch.no_grad():
            scores = head(x)  # [N, C]
        yield from classify.accuracy(scores, labels)
        yield from shots.shots(scores, labels, counts, rule=self.rule)
        if not rank():
            each = classify.per_class(scores, labels, len(counts))
            _dump(Path(self.checkpoint).with_name("per_class.parquet"), train.info.classes, counts, each)
        if self.tau:
            weight = next(p for name, p in head.named_parameters() if name.endswith("weight"))
            yield from tau.tau_norm(x, weight.detach(), labels, counts, rule=self.rule)


def _dump(path: Path, names: tuple[str, ...], counts: Tensor, accuracy: Tensor) -> None:
    table = pa.table({"class": list(names), "train_images": counts.numpy(), "top1": accuracy.numpy()})
    with atomic(path) as file:
        pq.write_table(table, file)


@dataclass(frozen=True, kw_only=True)
class Static(Evaluation):
    """A static augmented set"""

    static: Annotated[str, "folder that tools/make_static.py wrote"] = ""
    dataset_mode: Annotated[
        Literal["normal", "g-mask", "rand-g-mask", "avg-mask", "rand-avg-mask"], "which views of it"
    ] = "normal"


@dataclass(frozen=True, kw_only=True)
class Instdisc(Static):
    """Instance discrimination on a static augmented set"""

    mode: Annotated[Literal["d-sd", "sd-sd"], "originals ask for their views, or views for views"] = "d-sd"
    topk: Annotated[int, "accuracies from top-1 to this", 1] = 5
    samples_per_chunk: Annotated[int, "queries whose accuracies are averaged first", 1] = 100
    skip_odd_chunks: Annotated[bool, "every second chunk asks, as the release does for a path of `auged-train`"] = False
    gallery: Annotated[Literal["queries", "views"], "what distracts: other queries, as released, or views"] = "queries"

    def measure(self, model: EvaluatedModel) -> Results:
        views, _ = model.views(self.static, self.dataset_mode)
        q, p = instdisc.pair(views, self.mode)
        found = instdisc.ranks(q, p, gallery=self.gallery)
        top = instdisc.accuracies(found, self.topk, self.samples_per_chunk, skip_odd_chunks=self.skip_odd_chunks)
        if not rank():
            words = {"masked": self.dataset_mode, "checkpoint": self.checkpoint, "data": self.static}
            print(instdisc.printed(self.mode, top.tolist(), **words))
        yield from ((f"instdisc/{self.mode} top{k}", value) for k, value in enumerate(top.tolist(), 1))


@dataclass(frozen=True, kw_only=True)
class Stats(Static):
    """Alignment and uniformity on a static augmented set"""

    stats_seed: Annotated[int, "of the rows that uniformity is measured on"] = 0

    def measure(self, model: EvaluatedModel) -> Results:
        views, labels = model.views(self.static, self.dataset_mode)
        values = dict(stats.stats(views, labels, seed=self.stats_seed))
        if not rank():
            print(stats.printed(values))
        yield from values.items()


@dataclass(frozen=True, kw_only=True)
class Tsne(Static):
    """Images of the representation space of a static augmented set"""

    out: Annotated[str, "folder of the images (beside the checkpoint)"] = ""
    perplexity: Annotated[float, "about the number of neighbors", 1.0] = 30.0
    classes: Annotated[int, "how many are shown", 1] = 10
    per_class: Annotated[int, "images of each", 1] = 100

    def measure(self, model: EvaluatedModel) -> Results:
        views, labels = model.views(self.static, self.dataset_mode)
        folder = Path(self.out or Path(self.checkpoint).parent)
        if rank():
            return
        how = {"perplexity": self.perplexity, "classes": self.classes, "per_class": self.per_class}
        yield from tsne.tsne(views, labels, folder, **how)
        print(f"images and coordinates in {folder}")
