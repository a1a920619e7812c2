"""The base class of methods, and the time that the training loop passes to them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...augment.spec import Views
from ...pipeline.batch import Batch
from ...shards.manifest import Manifest

Stats = dict[str, Tensor]
"""Scalars to log by their names, left on the device."""


class Now(NamedTuple):
    """The time in a run. Schedules, coins and shuffles are functions of it, so a resume repeats them."""

    step: int  # optimizer steps already taken
    total: int
    seed: int


class Method(nn.Module, ABC):
    """Networks with a loss and an update rule.

    A subclass has `build`, `forward` and `backbone`, and the hooks that it needs. A checkpoint holds its state dict;
    evaluations look for the network under `online`, an `Encoder`.
    """

    uses_total: bool = True  # whether a step depends on Now.total: such a run cannot go on for other --epochs
    prefill: int = 0  # how many batches of epoch -1 `fill` takes before the first step
    kept: list[Tensor] | None = None  # a replay puts a list here, for the losses of the images of each forward, [N]

    @classmethod
    @abstractmethod
    def build(cls, recipe: Any, classes: int) -> "Method":
        """A new method by its recipe, for a data set of `classes` classes. The caller has seeded torch's generator."""

    @classmethod
    def check(cls, recipe: Any, views: Views, data: Manifest) -> None:
        """UserError, before anything is built, for a recipe that does not fit its views, its data or the ranks."""

    @property
    @abstractmethod
    def backbone(self) -> nn.Module:
        """The network that evaluations use: images [N, 3, S, S] -> features [N, D]."""

    @abstractmethod
    def forward(self, batch: Batch, now: Now) -> tuple[Tensor, Stats]:
        """The loss to minimize, and scalars to log."""

    def keep(self, losses: Callable[[], Tensor]) -> None:
        """Keep the loss of each image of a batch, [N] in its order, if a replay asks: the loss is their mean."""
        if self.kept is not None:
            with torch.no_grad():
                self.kept.append(losses())

    def before_step(self, now: Now) -> None:
        """Update before the forward: momentum, a teacher."""

    def before_update(self, optimizer: Optimizer) -> None:
        """Change gradients and groups right before the optimizer step: a gradient of None freezes its parameter, which
        then neither decays nor gathers momentum.

        Gradients are those of the whole batch, averaged over the ranks. Where the optimizer has
        a `grad_scale` that is not None, a scalar on the device (fp16 on a GPU), they are still multiplied by it.
        """

    def after_step(self, now: Now) -> None:
        """Update after the optimizer step: queues, written this late so that the forward needs no copy of them."""

    def fill(self, batch: Batch, now: Now) -> None:
        """Take one of the `prefill` batches, without gradients and optimizer."""
