"""The tasks `linear` and `transfer`: a classifier on a fixed network, trained by one of the published protocols."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

from ...shards.errors import UserError, choose
from ..checkpoints.files import load_file
from ..checkpoints.layouts import read
from ..data import OnError, Sets, open_pair
from ..recipes import RECIPES
from ..recipes.options import Supervised
from ..training.options import Run
from ..training.run import pretrain
from ..training.setup import training_plan
from .evaluation import EvaluatedModel, Evaluation, Results
from .shots import Shots

CLASSES = {"cifar10": 10, "cifar100": 100, "caltech101": 101}
PROBES = [name for name, recipe in RECIPES.items() if isinstance(recipe(), Supervised)]


@dataclass(frozen=True, kw_only=True)
class Linear(Evaluation, Sets):
    """A linear classifier on --data images, tested on --val"""

    features: str = field(init=False, default="")  # no option: a classifier is trained on augmented views
    untrained: bool = field(init=False, default=False)
    test_views: Annotated[str, "augmentation recipe of the test (that of the protocol)"] = ""
    protocol: Annotated[str, "recipe: linear, seed_linear, sts_linear, sts_linear_byol, sl_second_stage, ..."] = (
        "linear"
    )
    out: Annotated[str, "folder of the probe's run (PROTOCOL-DATA[-ema] beside the checkpoint)"] = ""
    epochs: Annotated[int, "passes over the data; 0: as the protocol", 0] = 0
    lr: Annotated[float, "learning rate; 0: as the protocol, scaled with --batch-size", 0] = 0.0
    bias: Annotated[bool, "give the classifier a bias"] = True
    eval_every: Annotated[int, "epochs between tests", 1] = 10
    on_error: OnError = "stop"

    def measure(self, model: EvaluatedModel) -> Results:
        recipe = self.recipe(model)
        train, _ = open_pair(self, "a classifier")  # data that do not fit are an error before the training
        common: dict[str, Any] = {f.name: getattr(self, f.name) for f in dataclasses.fields(Sets)}
        common["device"] = self.device
        run = Run(
            **common,
            out=self.out or str(model.path.with_name(f"{self.name}-{train.info.name}{'-ema' * self.ema}")),
            resume="auto",
            pretrained=self.checkpoint,
            network=self.network,
            ema=self.ema,
            eval_every=self.eval_every,
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
            _require_unchanged(model, last)
        yield "best top1", float(saved["best"])
        test = Shots(
            **common,
            checkpoint=str(last),
            size=model.size,
            test_views=recipe.test_views,
            batch_size=self.batch_size,
        )
        yield from test.measure(EvaluatedModel(test, model.device))

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return self.protocol

    def published(self) -> Supervised:
        """The recipe with its published values."""
        return RECIPES[choose("protocol", self.name, PROBES)]()

    def recipe(self, model: EvaluatedModel) -> Supervised:
        """The recipe for this network, changed by the options."""
        recipe = self.published()
        changes: dict[str, object] = {"arch": model.arch, "stem": model.stem, "size": model.size}
        changes |= {"batch_size": self.batch_size, "lr": self.lr or recipe.lr * self.batch_size / recipe.batch_size}
        changes |= {"epochs": self.epochs or recipe.epochs, "bias": self.bias}
        changes |= {"test_views": self.test_views or recipe.test_views}
        return dataclasses.replace(recipe, **changes)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, kw_only=True)
class Transfer(Linear):
    """A classifier on another data set's images: CIFAR-10, CIFAR-100, Caltech-101"""

    protocol: str = field(init=False, default="transfer")
    dataset: Annotated[
        Literal["cifar10", "cifar100", "caltech101"], "data set; Caltech-101 is tested on the center crop alone"
    ] = "cifar10"
    finetune: Annotated[bool, "train the whole network"] = False

    def measure(self, model: EvaluatedModel) -> Results:
        data = self.training()
        if (classes := len(data.info.classes)) != CLASSES[self.dataset]:
            raise UserError(
                f"{self.dataset} has {CLASSES[self.dataset]} classes, {data.root} has {classes}: name its --dataset; "
                f"other data sets take --task linear --protocol transfer"
            )
        yield from super().measure(model)

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return "transfer_finetune" if self.finetune else "transfer"

    def published(self) -> Supervised:
        """The recipe with its published values; its test depends on the data set."""
        recipe = super().published()
        return dataclasses.replace(recipe, test_views="transfer_evaluation") if self.dataset == "caltech101" else recipe


def _require_unchanged(model: EvaluatedModel, path: Path) -> None:
    """UserError unless the probe's backbone equals the evaluated one, bit for bit."""
    before, after = model.net.state_dict(), read(path).network()
    moved = [name for name, value in before.items() if not torch.equal(value.cpu(), after[name])]
    if moved:
        raise UserError(
            f"the probe changed {len(moved)} entries of the backbone, {moved[0]} first: its numbers do not describe "
            f"the checkpoint; this is a defect, or {path} is of another --checkpoint: give a new --out"
        )
