"""Who sees what, when: sample ids as a pure function of (samples, seed, epoch, world, rank, batch, start).

Position = global samples consumed, so a resume is arithmetic and nothing in a loader needs checkpointing. Rank r takes
the r-th contiguous slice of every global batch: a gather in rank order is plan order at every world size.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..augment.draw import hashed
from ..shards.errors import UserError


def permutation(samples: int, seed: int, epoch: int) -> np.ndarray:
    """All ids once, [samples] int64; 10 MB and about 0.2 s for ImageNet."""
    return np.argsort(hashed(seed, epoch, np.arange(samples, dtype=np.uint64)), kind="stable")


@dataclass(frozen=True)
class Plan:
    """The order one rank follows. Training drops the remainder of an epoch, so that every rank takes equal steps;
    `exact` keeps it and does not shuffle: each id once over all ranks, slices may be shorter or empty at the end."""

    samples: int
    batch: int  # global, over all ranks
    world: int = 1
    rank: int = 0
    seed: int = 0
    exact: bool = False

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise UserError(f"a global batch of {self.batch} holds nothing: give --batch-size 1 or more")
        if self.batch % self.world:
            raise UserError(
                f"a global batch of {self.batch} cannot be cut into {self.world} equal parts: make it divide"
            )
        if self.samples < 1:
            raise UserError("the data set is empty: nothing to plan")
        if not self.exact and self.batch > self.samples:
            raise UserError(
                f"a global batch of {self.batch} exceeds the {self.samples} samples of the data set, "
                f"an epoch would have no step: lower --batch-size"
            )

    def __len__(self) -> int:
        """Steps per epoch, the same on every rank."""
        return -(-self.samples // self.batch) if self.exact else self.samples // self.batch

    def ids(self, epoch: int, start: int = 0) -> Iterator[np.ndarray]:
        """This rank's ids of steps `start`.. of an epoch, each [batch / world] int64. Epoch -1 is allowed."""
        order = np.arange(self.samples) if self.exact else permutation(self.samples, self.seed, epoch)
        share = self.batch // self.world
        for step in range(start, len(self)):
            yield order[step * self.batch : (step + 1) * self.batch][self.rank * share : (self.rank + 1) * share]
