"""Linear probes and transfer: a classifier trained on a fixed network by one of the published protocols."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch

from ..shards.errors import UserError, choose
from .data import Loading
from .recipes import RECIPES
from .recipes.options import Supervised
from .run import Run, pretrain
from .subject import Evaluation, Subject
from .tasks import Shots
from .unpack import read

PROBES = [name for name, recipe in RECIPES.items() if isinstance(recipe(), Supervised)]


@dataclass(frozen=True, kw_only=True)
class Linear(Evaluation):
    """A linear classifier on --data images, tested on --val"""

    data: Annotated[str, "training set (the newest under data/shards)"] = ""
    val: Annotated[str, "validation set (the newest under data/shards)"] = ""
    protocol: Annotated[str, "recipe: linear, seed_linear, sts_linear, sts_linear_byol, sl_second_stage, ..."] = (
        "linear"
    )
    out: Annotated[str, "folder of the probe's run (PROTOCOL-DATA beside the checkpoint)"] = ""
    epochs: Annotated[int, "passes over the data; 0: the protocol's", 0] = 0
    lr: Annotated[float, "learning rate; 0: the protocol's, scaled with --batch-size", 0] = 0.0
    bias: Annotated[bool, "of the classifier"] = True
    eval_every: Annotated[int, "epochs between tests", 1] = 10

    def measure(self, subject: Subject) -> Iterator[tuple[str, float]]:
        recipe = self.recipe(subject)
        words = {f.name: getattr(self, f.name) for f in dataclasses.fields(Loading)}
        name = f"{self.protocol}-{Path(self.data).name or 'newest'}"
        out = self.out or str(subject.path.with_name(name))
        run = Run(**words, data=self.data, val=self.val, out=out, resume="auto", pretrained=self.checkpoint,
                  device=self.device, eval_every=self.eval_every)  # fmt: skip
        folder = pretrain(recipe, run)
        if recipe.trained == "classifier":
            _unchanged(subject, folder / "last.pt")
        best = torch.load(folder / "last.pt", map_location="cpu", weights_only=True)["best"]
        yield "best top1", float(best)
        done = Shots(**words, checkpoint=str(folder / "last.pt"), data=self.data, val=self.val, device=self.device,
                     size=subject.size, test_views=recipe.test_views, batch_size=self.batch_size)  # fmt: skip
        yield from done.measure(Subject(done, subject.device))

    def recipe(self, subject: Subject) -> Supervised:
        """The protocol for this network."""
        recipe = RECIPES[choose("protocol", self.protocol, PROBES)]()
        assert isinstance(recipe, Supervised)
        changes: dict[str, object] = {"arch": subject.arch, "stem": subject.stem, "size": subject.size}
        changes |= {"batch_size": self.batch_size, "lr": self.lr or recipe.lr * self.batch_size / recipe.batch_size}
        changes |= {"epochs": self.epochs or recipe.epochs, "bias": self.bias}
        return dataclasses.replace(recipe, **changes)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, kw_only=True)
class Transfer(Linear):
    """A classifier on another data set's images: CIFAR-10, CIFAR-100, Caltech-101"""

    protocol: Annotated[str, "recipe: transfer, or transfer_finetune for the whole network"] = "transfer"


def _unchanged(subject: Subject, path: Path) -> None:
    """UserError unless the probe's backbone is the checkpoint's, bit for bit."""
    before, after = subject.net.state_dict(), read(path).network()
    moved = [name for name, value in before.items() if not torch.equal(value.cpu(), after[name])]
    if moved:
        raise UserError(
            f"the probe changed {len(moved)} entries of the backbone, {moved[0]} first: its numbers are not the "
            f"checkpoint's; this is a defect, or {path} is of another --checkpoint: give a new --out"
        )
