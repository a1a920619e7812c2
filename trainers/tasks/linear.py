"""Linear probes and transfer: a classifier trained on a fixed network by one of the published protocols."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

from ...shards.errors import UserError, choose
from ..checkpoints.weights import read
from ..data import OnError, Sets, open_pair
from ..recipes import RECIPES
from ..recipes.options import Supervised
from ..training.run import Run, pretrain
from .model import EvaluatedModel, Evaluation
from .on_features import Shots

CLASSES = {"cifar10": 10, "cifar100": 100, "caltech101": 101}
PROBES = [name for name, recipe in RECIPES.items() if isinstance(recipe(), Supervised)]


@dataclass(frozen=True, kw_only=True)
class Linear(Evaluation, Sets):
    """A linear classifier on --data images, tested on --val"""

    features: str = field(init=False, default="")  # a classifier learns from augmented views: there is nothing to keep
    untrained: bool = field(init=False, default=False)
    test_views: Annotated[str, "augmentation recipe of the test (the protocol's)"] = ""
    protocol: Annotated[str, "recipe: linear, seed_linear, sts_linear, sts_linear_byol, sl_second_stage, ..."] = (
        "linear"
    )
    out: Annotated[str, "folder of the probe's run (PROTOCOL-DATA beside the checkpoint)"] = ""
    epochs: Annotated[int, "passes over the data; 0: the protocol's", 0] = 0
    lr: Annotated[float, "learning rate; 0: the protocol's, scaled with --batch-size", 0] = 0.0
    bias: Annotated[bool, "of the classifier"] = True
    eval_every: Annotated[int, "epochs between tests", 1] = 10
    on_error: OnError = "stop"

    def measure(self, model: EvaluatedModel) -> Iterator[tuple[str, float]]:
        recipe = self.recipe(model)
        train, _ = open_pair(self, "a classifier")  # what is wrong is said now, not after the last epoch
        words: dict[str, Any] = {f.name: getattr(self, f.name) for f in dataclasses.fields(Sets)} | {
            "device": self.device
        }
        out = self.out or str(model.path.with_name(f"{self.name}-{train.info.name}"))
        run = Run(**words, out=out, resume="auto", pretrained=self.checkpoint, network=self.network,
                  eval_every=self.eval_every, on_error=self.on_error)  # fmt: skip
        folder = pretrain(recipe, run)
        if recipe.trained == "classifier":
            _unchanged(model, folder / "last.pt")
        best = torch.load(folder / "last.pt", map_location="cpu", weights_only=True)["best"]
        yield "best top1", float(best)
        done = Shots(**words, checkpoint=str(folder / "last.pt"), size=model.size, test_views=recipe.test_views,
                     batch_size=self.batch_size)  # fmt: skip
        yield from done.measure(EvaluatedModel(done, model.device))

    @property
    def name(self) -> str:
        """Of the recipe."""
        return self.protocol

    def published(self) -> Supervised:
        """The recipe as it is without a word."""
        return RECIPES[choose("protocol", self.name, PROBES)]()

    def recipe(self, model: EvaluatedModel) -> Supervised:
        """The protocol for this network."""
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
    dataset: Annotated[Literal["cifar10", "cifar100", "caltech101"], "which; Caltech's tests show the center alone"] = (
        "cifar10"
    )
    finetune: Annotated[bool, "train the whole network"] = False

    def measure(self, model: EvaluatedModel) -> Iterator[tuple[str, float]]:
        data = self.training()
        if (found := len(data.info.classes)) != CLASSES[self.dataset]:
            raise UserError(
                f"{self.dataset} has {CLASSES[self.dataset]} classes, {data.root} has {found}: name its --dataset; "
                f"other data sets take --task linear --protocol transfer"
            )
        yield from super().measure(model)

    @property
    def name(self) -> str:
        """Of the recipe."""
        return "transfer_finetune" if self.finetune else "transfer"

    def published(self) -> Supervised:
        """The recipe, whose test depends on the data set."""
        recipe = super().published()
        return dataclasses.replace(recipe, test_views="transfer_evaluation") if self.dataset == "caltech101" else recipe


def _unchanged(model: EvaluatedModel, path: Path) -> None:
    """UserError unless the probe's backbone is the checkpoint's, bit for bit."""
    before, after = model.net.state_dict(), read(path).network()
    moved = [name for name, value in before.items() if not torch.equal(value.cpu(), after[name])]
    if moved:
        raise UserError(
            f"the probe changed {len(moved)} entries of the backbone, {moved[0]} first: its numbers are not the "
            f"checkpoint's; this is a defect, or {path} is of another --checkpoint: give a new --out"
        )
