"""Orders other than a permutation: a window shuffle for sequential storage, and class balance. Pure functions too."""

from dataclasses import dataclass

import numpy as np

from ...augment.draw import hashed
from ...shards.errors import UserError
from ...shards.keyed import Purpose
from .step import Step, once


@dataclass(frozen=True, eq=False)
class WindowShuffle:
    """For storage that is read shard by shard: shards in a keyed order, samples shuffled among `window` shards.

    Each id comes once per epoch. A reader needs 2 `window` shards at a time: those that a batch draws from and, at the
    end of a block of shards, the next ones. `shuffle_quality` measures how close the order comes to a permutation. It
    is the same at every world size, so each rank reads every shard.
    """

    shard: np.ndarray  # [samples] int: the shard of each id
    window: int = 8

    def __post_init__(self) -> None:
        if self.window < 1:
            raise UserError(f"a window of {self.window} shards holds nothing: give 1 or more")

    def __len__(self) -> int:
        return len(self.shard)

    def __call__(self, seed: int, epoch: int) -> Step:
        shards, index = np.unique(self.shard, return_inverse=True)
        order = np.argsort(hashed(seed, epoch, Purpose.SHARD_ORDER, shards.astype(np.uint64)), kind="stable")
        block = np.argsort(order) // self.window  # of each shard
        return once(np.lexsort((hashed(seed, epoch, np.arange(len(self.shard))), block[index])))


@dataclass(frozen=True, eq=False)
class Balanced:
    """Classes in turn, whatever their sizes; as many images per epoch as there are samples (`--balanced` of BalFeat).

    Law: each class comes once in as many class draws as there are classes, and a class draw gives `repeat` images;
    within a class each image comes once in as many images as the class has, a pass. Cycles and passes continue from
    epoch to epoch; an occurrence counts the passes of a class from its first in the epoch. The samplers of the release
    keep a state and differ from rank to rank; this is one global order. Spec: BalFeat 7.4.
    """

    label: np.ndarray  # [samples] int class
    repeat: int = 1

    def __post_init__(self) -> None:
        counts = np.bincount(self.label)
        if self.repeat < 1:
            raise UserError(f"{self.repeat} images per class draw show nothing: give --bal-repeat 1 or more")
        if not counts.all():
            absent = np.flatnonzero(counts == 0).tolist()
            raise UserError(
                f"class {absent[0]} has no image ({len(absent)} classes have none): a balanced order needs all"
            )

    def __len__(self) -> int:
        return len(self.label)

    def __call__(self, seed: int, epoch: int) -> Step:
        counts = np.bincount(self.label)
        at = (epoch + 1) * len(self) + np.arange(len(self))  # images drawn before; epoch -1 is the first
        cycle, turn = np.divmod(at // self.repeat, len(counts))
        cycles = np.arange(int(cycle[0]), int(cycle[-1]) + 1, dtype=np.uint64)[:, None]
        classes = np.argsort(hashed(seed, Purpose.CLASS_ORDER, cycles, np.arange(len(counts))), axis=1, kind="stable")
        drawn = classes[cycle - cycle[0], turn]  # [len] class at each position
        number = cycle * self.repeat + at % self.repeat  # images that this class gave before
        return Step(self._images(seed, drawn, number, counts), self._occurrence(drawn, number, counts))

    def _occurrence(self, drawn: np.ndarray, number: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Passes of the class since its first in the epoch, by position, [len]."""
        passes = number // counts[drawn]
        first = np.full(len(counts), passes.max())
        np.minimum.at(first, drawn, passes)
        return passes - first[drawn]

    def _images(self, seed: int, drawn: np.ndarray, number: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Ids by position, [len], from the class at each position and the images it gave before."""
        out = np.empty(len(drawn), np.int64)
        members = np.split(np.argsort(self.label, kind="stable"), np.cumsum(counts)[:-1])
        ends = np.cumsum(np.bincount(drawn, minlength=len(counts)))
        positions = np.split(np.argsort(drawn, kind="stable"), ends[:-1])
        for label, (ids, at) in enumerate(zip(members, positions, strict=True)):
            if not len(at):
                continue
            first, last = int(number[at[0]]), int(number[at[-1]])  # consecutive, since positions ascend
            passes = np.arange(first // len(ids), last // len(ids) + 1, dtype=np.uint64)[:, None]
            order = np.argsort(hashed(seed, Purpose.IMAGE_ORDER, label, passes, ids), axis=1, kind="stable")
            out[at] = ids[order].ravel()[first % len(ids) :][: len(at)]
        return out


def shuffle_quality(order: np.ndarray, shard: np.ndarray, batch: int) -> float:
    """How well batches mix shards: 0 if each batch comes from one shard, 1 for a permutation of all samples.

    One minus the chance that two samples of a batch share a shard, divided by the same for any two samples.
    """
    sizes = np.unique(shard, return_counts=True)[1].astype(float)
    anywhere = (sizes * (sizes - 1)).sum() / (len(shard) * (len(shard) - 1))
    together = []
    for at in range(0, len(order) - batch + 1, batch):
        counts = np.unique(shard[order[at : at + batch]], return_counts=True)[1].astype(float)
        together.append((counts * (counts - 1)).sum() / (batch * (batch - 1)))
    return float((1 - np.mean(together)) / (1 - anywhere))
