"""The options of each evaluation. Imports no torch, so that `--help` answers at once."""

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Literal

from ...shards.errors import choose
from ..data import Ema, Loading, Network, OnError, Sets
from ..recipes import RECIPES
from ..recipes.options import Supervised

Rule = Annotated[
    Literal["balfeat", "oltr", "thirds"],
    "few: at most 20 images (balfeat), fewer than 20 (oltr), or the third of the classes with the fewest",
]
PROBES = [name for name, recipe in RECIPES.items() if isinstance(recipe(), Supervised)]


@dataclass(frozen=True, kw_only=True)
class Evaluation(Loading):
    """Which network, on which data"""

    checkpoint: Annotated[str, "last.pt of a run, or the checkpoint of a release"] = ""
    arch: Annotated[str, "backbone (the one that the checkpoint names)"] = ""
    network: Network = "auto"
    ema: Ema = False
    size: Annotated[int, "side of the views, px; 0: as trained, else 224", 0] = 0
    test_views: Annotated[str, "augmentation recipe of the evaluated images (that of the checkpoint's recipe)"] = ""
    batch_size: Annotated[int, "global batch", 1] = 256
    features: Annotated[str, "folder to keep features in and to take them from"] = ""
    untrained: Annotated[bool, "use the network with its initial weights, as a baseline"] = False
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"], "precision of features and of a probe's training; fp32 is without TF32"
    ] = "fp32"
    device: Annotated[Literal["auto", "cuda", "cpu"], "auto: a GPU if there is one"] = "auto"
    threads: Annotated[int | Literal["auto"], "torch's threads; auto: the cores, divided by the ranks", 1] = "auto"
    watchdog: Annotated[int, "seconds without progress after which a job that hangs is ended; 0: never", 0] = 600


@dataclass(frozen=True, kw_only=True)
class Knn(Evaluation, Sets):
    """Nearest neighbors: --data images vote on the class of --val images"""

    k: Annotated[int, "neighbors of the weighted vote", 1] = 200
    temperature: Annotated[float, "temperature of the weighted vote", 1e-4] = 0.07
    max_k: Annotated[int, "best-NN tries 1, 3, 5, ... up to this", 1] = 101
    rep_space: Annotated[tuple[str, ...], "spaces of best-NN: original, norm, shift-norm"] = ("original", "norm")
    gpus: Annotated[int, "parts of the training set for shift-norm, one per GPU of the release", 1] = 1
    part_batch: Annotated[int, "mini-batch whose mean shift-norm subtracts", 1] = 512


@dataclass(frozen=True, kw_only=True)
class Shots(Evaluation, Sets):
    """Accuracy of a trained classifier on --val, by the number of --data images of each class"""

    rule: Rule = "balfeat"
    other_classes: Annotated[bool, "measure also on other classes than those that the classifier was trained on"] = (
        False
    )
    tau: Annotated[bool, "also tau-normalized classifiers, for tau = 0, 0.1, ... 1"] = False


@dataclass(frozen=True, kw_only=True)
class Rankme(Evaluation, Sets):
    """The rank of the features of --data images, RankMe, alpha-ReQ and LiDAR, which need no labels"""

    val: str = field(init=False, default="")  # no option: one set is measured
    images: Annotated[int, "images that are measured, evenly spaced in the set; the paper takes 25,600", 2] = 25_600
    lidar: Annotated[int, "views of each of at most 1,000 images for LiDAR, whose paper takes 50; 0: without", 0] = 0
    views: Annotated[str, "augmentation recipe whose first view LiDAR draws (that of the checkpoint's recipe)"] = ""


@dataclass(frozen=True, kw_only=True)
class FewLabels(Evaluation, Sets):
    """Which labels of --data a classifier learns from, and how its classes are grouped"""

    per_class: Annotated[int, "images of each class, drawn by key; 0: all", 0] = 0
    fraction: Annotated[float, "share of each class, drawn by key", 0] = 1.0
    draws: Annotated[int, "draws of --per-class or --fraction whose mean and spread are reported", 1] = 5
    rule: Rule = "balfeat"
    counts: Annotated[
        Literal["data", "checkpoint"], "whose images make classes many, medium and few: of --data, or those trained on"
    ] = "data"

    @property
    def few(self) -> str:
        """The share of the labels in words, "" for all of them."""
        if self.per_class:
            return f"{self.per_class}-per-class"
        return f"{self.fraction:g}-of-each-class" if self.fraction != 1 else ""


@dataclass(frozen=True, kw_only=True)
class Logreg(FewLabels):
    """Regularized logistic regression on fixed features of --data images, tested on --val"""

    c: Annotated[
        float | Literal["search"],
        "inverse strength of the regularization, as in scikit-learn; search: the best on a fifth of each class",
        1e-12,
    ] = "search"


@dataclass(frozen=True, kw_only=True)
class Linear(FewLabels):
    """A linear classifier on --data images, tested on --val"""

    features: str = field(init=False, default="")  # no option: a classifier is trained on augmented views
    untrained: bool = field(init=False, default=False)
    views: Annotated[str, "augmentation recipe of the training (that of the protocol)"] = ""
    test_views: Annotated[str, "augmentation recipe of the test (that of the protocol)"] = ""
    protocol: Annotated[str, "recipe: linear, seed_linear, sts_linear, sts_linear_byol, sl_second_stage, ..."] = (
        "linear"
    )
    out: Annotated[str, "folder of the probe's run (PROTOCOL-DATA[-CHECKPOINT][-NETWORK][-ema] beside it)"] = ""
    epochs: Annotated[int, "passes over the data; 0: as the protocol", 0] = 0
    lr: Annotated[float, "learning rate; 0: as the protocol, scaled with --batch-size", 0] = 0.0
    bias: Annotated[bool, "give the classifier a bias"] = True
    blocks: Annotated[
        int | Literal["protocol"], "last blocks of a ViT whose class tokens are the features; 0: its own features", 0
    ] = "protocol"
    frozen_bn: Annotated[
        Literal["protocol", "eval", "train"],
        "BatchNorm of the fixed network; train: its running statistics drift, as in sl_second_stage*",
    ] = "protocol"
    bn_groups: Annotated[int, "groups of BatchNorm statistics in the global batch; 0: as the protocol", 0] = 0
    eval_every: Annotated[int, "epochs between tests; 0: as the program, 1, or 10 of sts_linear*", 0] = 0
    on_error: OnError = "stop"

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return self.protocol

    def published(self) -> Supervised:
        """The recipe with its published values."""
        return RECIPES[choose("protocol", self.name, PROBES)]()


@dataclass(frozen=True, kw_only=True)
class Transfer(Linear):
    """A classifier on another data set's images: CIFAR-10, CIFAR-100, Caltech-101"""

    protocol: str = field(init=False, default="transfer")
    dataset: Annotated[
        Literal["cifar10", "cifar100", "caltech101"], "data set; Caltech-101 is tested on the center crop alone"
    ] = "cifar10"
    finetune: Annotated[
        bool, "train the whole network; --lr is then 1 for 256 images: the program's default of 30 diverges"
    ] = False

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return "transfer_finetune" if self.finetune else "transfer"

    def published(self) -> Supervised:
        """The recipe with its published values; its test depends on the data set."""
        recipe = super().published()
        return dataclasses.replace(recipe, test_views="transfer_evaluation") if self.dataset == "caltech101" else recipe


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


@dataclass(frozen=True, kw_only=True)
class Stats(Static):
    """Alignment and uniformity on a static augmented set"""

    stats_seed: Annotated[int, "seed of the rows that uniformity is measured on"] = 0


@dataclass(frozen=True, kw_only=True)
class Tsne(Static):
    """Plots of the representation space of a static augmented set"""

    out: Annotated[str, "folder of the plots (beside the checkpoint)"] = ""
    perplexity: Annotated[float, "about the number of neighbors", 1.0] = 30.0
    classes: Annotated[int, "number of classes shown", 1] = 10
    per_class: Annotated[int, "images of each class", 1] = 100
    words: Annotated[str, "list that names the classes: lines `class words`, or a class index as JSON"] = ""


TASKS: dict[str, type[Evaluation]] = {
    "knn": Knn,
    "linear": Linear,
    "transfer": Transfer,
    "shots": Shots,
    "logreg": Logreg,
    "rankme": Rankme,
    "instdisc": Instdisc,
    "stats": Stats,
    "tsne": Tsne,
}


def options_of(task: str) -> Evaluation:
    """The default options of a task. UserError with the nearest names for an unknown one."""
    return TASKS[choose("task", task, TASKS)]()
