"""Sample order: ids as a pure function of (samples, seed, epoch, world size, rank, batch, start).

A position counts the global samples consumed, so a resume is arithmetic and no loader needs a checkpoint. Rank r takes
the r-th contiguous slice of each global batch, so gathering the ranks in order gives one order at every world size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from ...augment.draw import hashed
from ...shards.errors import UserError, plural
from ...shards.keyed import Purpose
from . import versions
from .bijection import scattered
from .step import Epoch, Step, listed, once, padded

Tail = Literal["drop", "pad", "exact"]
TOGETHER = 4096  # ids that are computed at once: numpy takes as long for a few


class Order(Protocol):
    """An order other than a permutation of all samples, as in `orders`; an id may come several times."""

    def __len__(self) -> int:
        """Positions per epoch."""
        ...

    def __call__(self, seed: int, epoch: int) -> Epoch:
        """The samples of an epoch by position; `epoch` may be -1. `listed` makes one of arrays."""
        ...


def permutation(samples: int, seed: int, epoch: int) -> np.ndarray:
    """Each id once, [samples] int64, as a `Plan` shows them."""
    return _permutation(samples, seed, epoch).at(np.arange(samples)).rows


def _permutation(samples: int, seed: int, epoch: int) -> Epoch:
    key = hashed(seed, epoch, Purpose.EPOCH_KEY, 0)
    return Epoch(lambda position: once(scattered(position, samples, key)))


@dataclass(frozen=True)
class Plan:
    """The sample order of one rank; every rank takes the same number of steps.

    `tail` decides about an epoch's last samples, fewer than a batch: `drop` leaves them out, `pad` adds the epoch's
    first ids until their number is a multiple of `multiple` (0: a whole batch), `exact` keeps them as they are. `exact`
    shows each id once over all ranks, in storage order unless `order` is given, and a rank's last slices may be shorter
    or empty. Each batch comes in `parts` steps, for gradients that are added up. Nothing as long as the set is made,
    unless `version` is 1, that of runs which began with orders made of arrays.
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
    version: int = versions.VERSION  # of the permutation; a given `order` has its own

    def __post_init__(self) -> None:
        versions.known(self.version)
        if self.batch < 1:
            raise UserError(f"a global batch of {self.batch} holds nothing: give --batch-size 1 or more")
        if self.batch % self.world_size:
            raise UserError(
                f"a global batch of {self.batch} cannot be split into {self.world_size} equal parts: choose a multiple"
            )
        if self.batch % (shares := self.world_size * self.parts):
            raise UserError(
                f"--accumulate {self.parts} does not divide a batch of {self.batch} on "
                f"{plural(self.world_size, 'rank')}: choose a divisor of a rank's share"
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
        order, several = self._epoch(epoch), max(1, TOGETHER // self.share)
        for first in range(start, len(self), several):
            steps = [self._positions(step) for step in range(first, min(first + several, len(self)))]
            rows, occurrence = order.at(np.concatenate(steps))
            ends = np.cumsum([len(step) for step in steps])[:-1]
            yield from map(Step, np.split(rows, ends), np.split(occurrence, ends))

    def ids(self, epoch: int, start: int = 0) -> Iterator[np.ndarray]:
        """The `rows` of `steps` alone."""
        return (step.rows for step in self.steps(epoch, start))

    def _positions(self, step: int) -> np.ndarray:
        """The positions of this rank in a step."""
        batch, part = divmod(step, self.parts)
        begin = batch * self.batch
        share = self.share
        if self.tail == "pad":  # the last batch may be smaller, in equal parts
            share = min(self.batch, self.shown - begin) // (self.world_size * self.parts)
        begin += (part * self.world_size + self.rank) * share
        return np.arange(begin, min(begin + share, self.shown))

    def _epoch(self, epoch: int) -> Epoch:
        """The samples at all positions of an epoch, on all ranks."""
        if self.order:
            whole = self.order(self.seed, epoch)
        elif self.tail == "exact":
            whole = Epoch(once)
        elif versions.known(self.version):
            whole = _permutation(self.samples, self.seed, epoch)
        else:
            whole = listed(versions.permutation(self.samples, self.seed, epoch))
        return padded(whole, self.positions) if self.shown > self.positions else whole
