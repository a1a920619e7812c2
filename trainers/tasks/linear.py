"""The task `linear`: a classifier on a fixed network, trained by one of the published protocols."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch

from ...shards.errors import UserError, choose
from ...shards.manifest import Manifest
from ..checkpoints.files import load_file
from ..checkpoints.layouts import read
from ..data import OnError, Sets
from ..recipes import RECIPES
from ..recipes.options import Supervised
from ..training.options import Run
from ..training.run import pretrain
from ..training.setup import training_plan
from .evaluation import EvaluatedModel, Evaluation, Results
from .shots import Shots

TESTED_EVERY = {"sts_linear": 10, "sts_linear_byol": 10}  # epochs; the other programs test after each one
PROBES = [name for name, recipe in RECIPES.items() if isinstance(recipe(), Supervised)]


@dataclass(frozen=True, kw_only=True)
class Linear(Evaluation, Sets):
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
    frozen_bn: Annotated[
        Literal["protocol", "eval", "train"],
        "BatchNorm of the fixed network; train: its running statistics drift, as in sl_second_stage*",
    ] = "protocol"
    bn_groups: Annotated[int, "groups of BatchNorm statistics in the global batch; 0: as the protocol", 0] = 0
    eval_every: Annotated[int, "epochs between tests; 0: as the program, 1, or 10 of sts_linear*", 0] = 0
    on_error: OnError = "stop"

    def measure(self, model: EvaluatedModel) -> Results:
        recipe = self.recipe(model)
        train, val = model.open_pair(self, "a classifier")  # data that do not fit are an error before the training
        model.compare(train, val, quiet=True)  # the run of the probe warns
        model.features(some(val, self.batch_size), recipe.test_views)  # so is a network without finite features
        common: dict[str, Any] = {f.name: getattr(self, f.name) for f in dataclasses.fields(Sets)}
        common["device"] = self.device
        out = self.folder(model, train)
        if recipe.trained == "all":
            _require_start(out / "last.pt")
        run = Run(
            **common,
            out=str(out),
            resume="auto",
            pretrained=self.checkpoint,
            network=self.network,
            ema=self.ema,
            eval_every=self.eval_every or TESTED_EVERY.get(self.name, 1),
            on_error=self.on_error,
        )
        last = pretrain(recipe, run) / "last.pt"
        steps = len(training_plan(recipe, train)) // recipe.accumulate * recipe.epochs
        saved = load_file(last)
        if saved.get("measured", saved["step"]) < steps:  # older checkpoints do not say whether they were measured
            raise UserError(
                f"the probe was stopped after step {saved['step']} of {steps}, before its last test: the same command "
                f"continues it"
            )
        if recipe.trained == "classifier":
            _require_unchanged(model, last, statistics=recipe.frozen_bn == "eval")
        yield "best top1", float(saved["best"])
        test = Shots(
            **common,
            checkpoint=str(last),
            size=model.size,
            test_views=recipe.test_views,
            batch_size=self.batch_size,
            precision=self.precision,
        )
        yield from test.measure(EvaluatedModel(test, model.device, model.facts))

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return self.protocol

    def folder(self, model: EvaluatedModel, train: Manifest) -> Path:
        """The folder of the probe's run; by default each checkpoint and network has one of its own."""
        which = [model.path.stem] * (model.path.name != "last.pt") + [self.network] * (self.network != "auto")
        which += ["ema"] * self.ema
        return Path(self.out or model.path.with_name("-".join([self.name, train.info.name, *which])))

    def published(self) -> Supervised:
        """The recipe with its published values."""
        return RECIPES[choose("protocol", self.name, PROBES)]()

    def recipe(self, model: EvaluatedModel) -> Supervised:
        """The recipe for this network, changed by the options."""
        recipe = self.published()
        changes: dict[str, object] = {"arch": model.arch, "stem": model.stem, "size": model.size}
        changes |= {"batch_size": self.batch_size, "lr": self.lr or recipe.lr * self.batch_size / recipe.batch_size}
        changes |= {"epochs": self.epochs or recipe.epochs, "bias": self.bias}
        changes |= {"bn_groups": self.bn_groups or recipe.bn_groups, "precision": self.precision}
        changes |= {"frozen_bn": recipe.frozen_bn if self.frozen_bn == "protocol" else self.frozen_bn}
        changes |= {"views": self.views or recipe.views, "test_views": self.test_views or recipe.test_views}
        return dataclasses.replace(recipe, **changes)  # pyright: ignore[reportArgumentType]


def _require_start(last: Path) -> None:
    """UserError for a probe of the whole network by an earlier version: its numbers may be those of any checkpoint."""
    if last.exists() and load_file(last).get("start") is None:
        raise UserError(
            f"{last} does not say which checkpoint it began with, because an earlier version wrote it: "
            f"remove {last.parent}, or give another --out"
        )


def some(data: Manifest, count: int) -> Manifest:
    """At most `count` images of a set, evenly spaced."""
    rows = np.arange(0, len(data), -(-len(data) // count))
    return data.take(rows, data.label[rows], data.info.classes)


def _require_unchanged(model: EvaluatedModel, path: Path, *, statistics: bool) -> None:
    """UserError unless the weights of the probe's backbone, and BatchNorm's `statistics`, equal those of the evaluated
    one, bit for bit."""
    before = model.net.state_dict() if statistics else dict(model.net.named_parameters())
    after = read(path).network()
    moved = [name for name, value in before.items() if not torch.equal(value.cpu(), after[name])]
    if moved:
        raise UserError(
            f"the probe changed {len(moved)} entries of the backbone, {moved[0]} first: its numbers do not describe "
            f"the checkpoint; this is a defect, or {path} is of another --checkpoint: give a new --out"
        )
