"""The tasks on a static augmented set: `instdisc`, `stats` and `tsne`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from ...shards.errors import needs
from ..evals import instdisc, stats, tsne
from ..ranks import rank
from .evaluation import EvaluatedModel, Evaluation, Results


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

    mode: Annotated[Literal["d-sd", "sd-sd"], "d-sd: originals query their views; sd-sd: views query views"] = "d-sd"
    topk: Annotated[int, "largest k of the top-k accuracies", 1] = 5
    samples_per_chunk: Annotated[int, "queries whose accuracies are averaged first", 1] = 100
    skip_odd_chunks: Annotated[bool, "skip every second chunk, as the release does for a path of `auged-train`"] = False
    gallery: Annotated[Literal["queries", "views"], "distractors: other queries, as released, or views"] = "queries"

    def measure(self, model: EvaluatedModel) -> Results:
        views, _ = model.views(self.static, self.dataset_mode)
        ranks, ties = instdisc.ranks_and_ties(*instdisc.pair(views, self.mode), gallery=self.gallery)
        skip = self.skip_odd_chunks
        top = instdisc.accuracies(ranks, self.topk, self.samples_per_chunk, skip_odd_chunks=skip, ties=ties)
        if not rank():
            about = {"masked": self.dataset_mode, "checkpoint": self.checkpoint, "data": self.static}
            print(instdisc.printed(self.mode, top.tolist(), **about))
        yield from instdisc.named(self.mode, top)


@dataclass(frozen=True, kw_only=True)
class Stats(Static):
    """Alignment and uniformity on a static augmented set"""

    stats_seed: Annotated[int, "seed of the rows that uniformity is measured on"] = 0

    def measure(self, model: EvaluatedModel) -> Results:
        views, labels = model.views(self.static, self.dataset_mode)
        values = dict(stats.stats(views, labels, seed=self.stats_seed))
        if not rank():
            print(stats.printed(values))
        yield from values.items()


@dataclass(frozen=True, kw_only=True)
class Tsne(Static):
    """Plots of the representation space of a static augmented set"""

    out: Annotated[str, "folder of the plots (beside the checkpoint)"] = ""
    perplexity: Annotated[float, "about the number of neighbors", 1.0] = 30.0
    classes: Annotated[int, "number of classes shown", 1] = 10
    per_class: Annotated[int, "images of each class", 1] = 100

    def measure(self, model: EvaluatedModel) -> Results:
        for package in ("sklearn", "matplotlib"):  # before minutes of work
            needs(package)
        views, labels = model.views(self.static, self.dataset_mode)
        folder = Path(self.out or Path(self.checkpoint).parent)
        if rank():
            return
        options = {"perplexity": self.perplexity, "classes": self.classes, "per_class": self.per_class}
        yield from tsne.tsne(views, labels, folder, **options)
        print(f"images and coordinates in {folder}")
