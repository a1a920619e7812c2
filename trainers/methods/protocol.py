"""The methods' side of the training loop: what a method has to provide, and what it knows of the time."""

from typing import NamedTuple, Protocol

from torch import Tensor, nn

from ...pipeline.batch import Batch

Stats = dict[str, Tensor]  # scalars worth logging, left on the device


class Now(NamedTuple):
    """The time in a run. Schedules, coins and shuffles are functions of it, so a resume repeats them."""

    step: int  # optimizer steps already taken
    total: int
    seed: int


class Method(Protocol):
    """An nn.Module with a loss and an update rule."""

    def before_step(self, now: Now) -> None:
        """Changes by rule before the forward: momentum and teacher updates."""
        ...

    def __call__(self, batch: Batch, now: Now) -> tuple[Tensor, Stats]:
        """The loss to minimize, and scalars worth logging."""
        ...

    def after_step(self, now: Now) -> None:
        """Changes by rule after the optimizer step: queues, written late so that no copy of them is needed."""
        ...

    @property
    def backbone(self) -> nn.Module:
        """What evaluations use: images -> features."""
        ...


class Prefilled(Protocol):
    """A method that wants batches of epoch -1 before its first step."""

    prefill: int  # how many

    def fill(self, batch: Batch, now: Now) -> None:
        """Take one of them; no gradients, no optimizer."""
        ...
