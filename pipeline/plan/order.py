"""Sample order: ids as a pure function of (samples, seed, epoch, world size, rank, batch, start).

A position counts the global samples consumed, so a resume is arithmetic and no loader needs a checkpoint. Rank r takes
the r-th contiguous slice of each global batch, so gathering the ranks in order gives one order at every world size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from ...augment.draw import hashed
from ...shards.errors import UserError
from .step import Step, once, padded

Tail = Literal["drop", "pad", "exact"]
VERSION = 1  # of the orders of new runs; a resumed run keeps its own


class Order(Protocol):
    """An order other than a permutation of all samples, as in `orders`; an id may come several times."""

    def __len__(self) -> int:
        """Positions per epoch."""
        ...

    def __call__(self, seed: int, epoch: int) -> Step:
        """Ids and occurrences by position, [len] each; `epoch` may be -1. `once(ids)` for an order without repeats."""
        ...


def permutation(samples: int, seed: int, epoch: int) -> np.ndarray:
    """Each id once, [samples] int64; 1,281,167 ids (ImageNet) take about 0.2 s and 10 MB (41 MB at the peak)."""
    return np.argsort(hashed(seed, epoch, np.arange(samples, dtype=np.uint64)), kind="stable")


@dataclass(frozen=True)
class Plan:
    """The sample order of one rank; every rank takes the same number of steps.

    `tail` decides about an epoch's last samples, fewer than a batch: `drop` leaves them out, `pad` adds the epoch's
    first ids until their number is a multiple of `multiple` (0: a whole batch), `exact` keeps them as they are. `exact`
    shows each id once over all ranks, in storage order unless `order` is given, and a rank's last slices may be shorter
    or empty. Each batch comes in `parts` steps, for gradients that are added up.
    """

    samples: int
    batch: int  # global, over all ranks
    world_size: int = 1
    rank: int = 0
    seed: int = 0
    tail: Tail = "drop"
    order: Order | None = None  # None: all ids in a new permutation each epoch
    parts: int = 1
    multiple: int = 0

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise UserError(f"a global batch of {self.batch} holds nothing: give --batch-size 1 or more")
        if self.batch % self.world_size:
            raise UserError(
                f"a global batch of {self.batch} cannot be split into {self.world_size} equal parts: choose a multiple"
            )
        if self.batch % (shares := self.world_size * self.parts):
            raise UserError(
                f"--accumulate {self.parts} does not divide a batch of {self.batch} on {self.world_size} ranks: "
                "choose a divisor of a rank's share"
            )
        if self.multiple % shares:
            raise UserError(f"a last batch of {self.multiple} cannot be split into {shares} equal parts")
        if self.samples < 1:
            raise UserError("the data set is empty: nothing to plan")
        if self.tail == "drop" and self.batch > self.positions:
            raise UserError(
                f"a global batch of {self.batch} exceeds the {self.positions} samples of the data set, "
                f"an epoch would have no step: lower --batch-size"
            )

    def fit(self, samples: int, name: str) -> None:
        """Raise UserError if a set `name` has fewer samples than the plan orders."""
        if self.samples > samples:
            raise UserError(
                f"the plan orders {self.samples} samples, {name} holds {samples}: make the plan from len(manifest)"
            )

    @property
    def positions(self) -> int:
        """Ids per epoch before the tail is dropped or padded."""
        return len(self.order) if self.order else self.samples

    @property
    def shown(self) -> int:
        """Ids per epoch after the tail is dropped or padded."""
        left = self.positions % self.batch
        if self.tail == "exact" or not left:
            return self.positions
        if self.tail == "drop":
            return self.positions - left
        multiple = self.multiple or self.batch
        return self.positions - left + min(-(-left // multiple) * multiple, self.batch)

    @property
    def share(self) -> int:
        """Ids of this rank in a step, other than those of the last batch."""
        return self.batch // (self.world_size * self.parts)

    def __len__(self) -> int:
        """Steps per epoch, the same on every rank."""
        return -(-self.shown // self.batch) * self.parts

    def steps(self, epoch: int, start: int = 0) -> Iterator[Step]:
        """This rank's samples of steps `start`.. of an epoch; `epoch` may be -1."""
        order, occurrence = self._epoch(epoch)
        for step in range(start, len(self)):
            at = self._positions(step)
            yield Step(order[at], occurrence[at])

    def ids(self, epoch: int, start: int = 0) -> Iterator[np.ndarray]:
        """The `rows` of `steps` alone."""
        return (step.rows for step in self.steps(epoch, start))

    def _positions(self, step: int) -> slice:
        """The positions of this rank in a step."""
        batch, part = divmod(step, self.parts)
        begin = batch * self.batch
        share = self.share
        if self.tail == "pad":  # the last batch may be smaller, in equal parts
            share = min(self.batch, self.shown - begin) // (self.world_size * self.parts)
        begin += (part * self.world_size + self.rank) * share
        return slice(begin, begin + share)

    def _epoch(self, epoch: int) -> Step:
        """The samples at all positions of an epoch, on all ranks."""
        if self.order:
            whole = self.order(self.seed, epoch)
        elif self.tail == "exact":
            whole = once(np.arange(self.samples))
        else:
            whole = once(permutation(self.samples, self.seed, epoch))
        return padded(whole, self.shown) if self.shown > self.positions else whole
