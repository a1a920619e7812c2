"""Orders beside the permutation: block by block for sequential storage, and class-balanced. Pure functions as well."""

from dataclasses import dataclass

import numpy as np

from ...augment.draw import hashed
from ...shards.errors import UserError
from ...shards.keyed import Purpose


@dataclass(frozen=True, eq=False)
class WindowShuffle:
    """For storage that is read shard after shard: shards in a keyed order, samples mixed among `window` shards.

    Every id once an epoch. A reader needs 2 `window` shards at hand: those that a batch is drawn from and, at a block's
    end, the next ones. `shuffle_quality` tells how near it comes to a permutation. The order is the same at every world
    size, so each rank reads every shard.
    """

    shard: np.ndarray  # [samples] int, of each id
    window: int = 8

    def __post_init__(self) -> None:
        if self.window < 1:
            raise UserError(f"a window of {self.window} shards holds nothing: give 1 or more")

    def __len__(self) -> int:
        return len(self.shard)

    def __call__(self, seed: int, epoch: int) -> np.ndarray:
        shards, which = np.unique(self.shard, return_inverse=True)
        place = np.argsort(
            np.argsort(hashed(seed, epoch, Purpose.SHARD_ORDER, shards.astype(np.uint64)), kind="stable")
        )
        return np.lexsort((hashed(seed, epoch, np.arange(len(which))), place[which] // self.window))


@dataclass(frozen=True, eq=False)
class Balanced:
    """Classes in turn, whatever their sizes: as many draws an epoch as there are samples (BalFeat's `--balanced`).

    Law: every class comes once in as many class draws as there are classes, each giving `repeat` images; within a
    class every image comes once in as many images as the class has. Cycles go on from epoch to epoch. Unlike the
    release's samplers, which hold a state and differ from rank to rank, this is one global order. Spec: BalFeat 7.4.
    """

    label: np.ndarray  # [samples] int class
    repeat: int = 1

    def __post_init__(self) -> None:
        counts = np.bincount(self.label)
        if self.repeat < 1:
            raise UserError(f"{self.repeat} images a class draw are none: give --bal-repeat 1 or more")
        if not counts.all():
            absent = np.flatnonzero(counts == 0).tolist()
            raise UserError(f"class {absent[0]} has no image ({len(absent)} such): a balanced order needs all")

    def __len__(self) -> int:
        return len(self.label)

    def __call__(self, seed: int, epoch: int) -> np.ndarray:
        counts = np.bincount(self.label)
        at = (epoch + 1) * len(self) + np.arange(len(self))  # images drawn before; epoch -1 is the first
        cycle, turn = np.divmod(at // self.repeat, len(counts))
        cycles = np.arange(int(cycle[0]), int(cycle[-1]) + 1, dtype=np.uint64)[:, None]
        classes = np.argsort(hashed(seed, Purpose.CLASS_ORDER, cycles, np.arange(len(counts))), axis=1, kind="stable")
        which = classes[cycle - cycle[0], turn]  # [len] class of each position
        number = cycle * self.repeat + at % self.repeat  # how often its class gave an image before
        return self._pictures(seed, which, number, counts)

    def _pictures(self, seed: int, which: np.ndarray, number: np.ndarray, counts: np.ndarray) -> np.ndarray:
        out = np.empty(len(which), np.int64)
        members = np.split(np.argsort(self.label, kind="stable"), np.cumsum(counts)[:-1])
        places = np.split(np.argsort(which, kind="stable"), np.cumsum(np.bincount(which, minlength=len(counts)))[:-1])
        for name, (ids, where) in enumerate(zip(members, places, strict=True)):
            if not len(where):
                continue
            first, last = int(number[where[0]]), int(number[where[-1]])  # consecutive, since positions ascend
            passes = np.arange(first // len(ids), last // len(ids) + 1, dtype=np.uint64)[:, None]
            shuffled = ids[
                np.argsort(hashed(seed, Purpose.IMAGE_ORDER, name, passes, ids), axis=1, kind="stable")
            ].ravel()
            out[where] = shuffled[first % len(ids) :][: len(where)]
        return out


def shuffle_quality(order: np.ndarray, shard: np.ndarray, batch: int) -> float:
    """How well batches mix shards: 0 = each batch out of one shard, 1 = as a permutation of all samples does.

    One minus the chance that two samples of a batch share a shard, over one minus the same chance for any two samples.
    """
    sizes = np.unique(shard, return_counts=True)[1].astype(float)
    anywhere = (sizes * (sizes - 1)).sum() / (len(shard) * (len(shard) - 1))
    together = []
    for at in range(0, len(order) - batch + 1, batch):
        counts = np.unique(shard[order[at : at + batch]], return_counts=True)[1].astype(float)
        together.append((counts * (counts - 1)).sum() / (batch * (batch - 1)))
    return float((1 - np.mean(together)) / (1 - anywhere))
