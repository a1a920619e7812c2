"""The batch sampler beside our dataset: a plan's samples, each addressed together with its epoch."""

from collections.abc import Iterator

from torch.utils.data import Sampler

from ..plan.order import Plan

Address = tuple[int, int] | tuple[int, int, int]  # epoch, manifest row; occurrence, if not 0


class Steps(Sampler[list[Address]]):
    """The batches of one rank, each a list of addresses. An empty last batch of an `exact` plan is left out.

    The first pass is of epoch 0, each other one of the epoch after the last pass, even if that was broken off.
    """

    def __init__(self, plan: Plan):
        self.plan, self.epoch, self.begun = plan, 0, (0, 0)
        self._passed = False  # whether a pass of `epoch` has begun

    @property
    def sampler(self) -> "Steps":
        """Itself: Lightning and accelerate call `set_epoch` on the `sampler` of a batch sampler."""
        return self

    @property
    def batch_size(self) -> int:
        """Samples of this rank in a whole batch."""
        return self.plan.share

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass one of `epoch`."""
        self.epoch, self._passed = epoch, False

    def resume(self, epoch: int, step: int) -> None:
        """Continue `epoch` after its first `step` batches; other epochs are whole."""
        self.set_epoch(epoch)
        self.begun = (epoch, step)

    @property
    def start(self) -> int:
        """The first step of a pass of `epoch`."""
        return self.begun[1] if self.epoch == self.begun[0] else 0

    def __len__(self) -> int:
        plan, steps = self.plan, len(self.plan)
        if plan.tail == "exact":  # lower ranks come first
            steps = -(-(plan.positions - plan.rank * plan.share) // plan.batch)
        return max(0, steps - self.start)

    def __iter__(self) -> Iterator[list[Address]]:
        self.epoch += self._passed
        epoch, self._passed = self.epoch, True
        for rows, occurrence in self.plan.steps(epoch, self.start):
            if len(rows):
                shown = zip(rows.tolist(), occurrence.tolist(), strict=True)
                yield [(epoch, row, before) if before else (epoch, row) for row, before in shown]
