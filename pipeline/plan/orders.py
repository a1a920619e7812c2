"""Orders other than a permutation: a window shuffle for sequential storage, and class balance. Pure functions too."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...augment.draw import hashed
from ...shards.errors import UserError
from ...shards.keyed import Purpose
from . import versions
from .bijection import scattered
from .columns import Groups, grouped
from .step import Epoch, Step, listed, once


@dataclass(frozen=True, eq=False)
class WindowShuffle:
    """For storage that is read shard by shard: shards in a keyed order, samples shuffled among `window` shards.

    Each id comes once per epoch. A reader needs 2 `window` shards at a time: those that a batch draws from and, at the
    end of a block of shards, the next ones. `shuffle_quality` measures how close the order comes to a permutation. It
    is the same at every world size, so each rank reads every shard. In memory: a few numbers for each shard, and 4
    bytes per sample if the samples of a shard do not lie together in the manifest.
    """

    shard: np.ndarray  # [samples] int: the shard of each id
    window: int = 8
    version: int = versions.VERSION

    def __post_init__(self) -> None:
        if self.window < 1:
            raise UserError(f"a window of {self.window} shards holds nothing: give 1 or more")

    def __len__(self) -> int:
        return len(self.shard)

    def __call__(self, seed: int, epoch: int) -> Epoch:
        if not versions.known(self.version):
            return listed(versions.window_shuffle(self.shard, self.window, seed, epoch))
        shards = self._shards
        order = np.argsort(hashed(seed, epoch, Purpose.SHARD_ORDER, shards.value), kind="stable")
        size = shards.size[order]
        first = np.cumsum(size) - size  # position of each shard, and of each block of shards, if nothing were shuffled
        block_first = first[:: self.window]
        block_size = np.diff(block_first, append=len(self))

        def at(position: np.ndarray) -> Step:
            block = np.searchsorted(block_first, position, "right") - 1
            key = hashed(seed, epoch, Purpose.EPOCH_KEY, block)
            place = block_first[block] + scattered(position - block_first[block], block_size[block], key)
            turn = np.searchsorted(first, place, "right") - 1
            return once(shards.id_at(shards.begin[order[turn]] + place - first[turn]))

        return Epoch(at)

    @cached_property
    def _shards(self) -> Groups:
        return grouped(self.shard)


@dataclass(frozen=True, eq=False)
class Balanced:
    """Classes in turn, whatever their sizes; as many images per epoch as there are samples (`--balanced` of BalFeat).

    Law: each class comes once in as many class draws as there are classes, and a class draw gives `repeat` images;
    within a class each image comes once in as many images as the class has, a pass. Cycles and passes continue from
    epoch to epoch; an occurrence counts the passes of a class from its first in the epoch. The samplers of the release
    keep a state and differ from rank to rank; this is one global order. Spec: BalFeat 7.4. In memory: the ids sorted by
    class, 4 bytes per sample that are made with the order (13 at the peak), and a few numbers for each class.
    """

    label: np.ndarray  # [samples] int class
    repeat: int = 1
    version: int = versions.VERSION

    def __post_init__(self) -> None:
        if self.repeat < 1:
            raise UserError(f"{self.repeat} images per class draw show nothing: give --bal-repeat 1 or more")
        present = self._classes.value
        if len(absent := np.setdiff1d(np.arange(1 + present.max(initial=-1)), present)):
            raise UserError(
                f"class {absent[0]} has no image ({len(absent)} classes have none): a balanced order needs all"
            )

    def __len__(self) -> int:
        return len(self.label)

    def __call__(self, seed: int, epoch: int) -> Epoch:
        if not versions.known(self.version):
            return listed(versions.balanced(self.label, self.repeat, seed, epoch))
        classes, before = self._classes, (epoch + 1) * len(self)  # images drawn before; epoch -1 is the first
        counts = classes.size
        first = self._given(seed, before) // counts  # pass of each class
        last = (self._given(seed, before + len(self)) - 1) // counts

        def at(position: np.ndarray) -> Step:
            cycle, turn = np.divmod((before + position) // self.repeat, len(counts))
            drawn = scattered(turn, len(counts), hashed(seed, Purpose.CYCLE_KEY, cycle))
            number = cycle * self.repeat + (before + position) % self.repeat  # images that this class gave before
            passes, place = np.divmod(number, counts[drawn])
            place = scattered(place, counts[drawn], hashed(seed, Purpose.PASS_KEY, drawn, passes))
            return Step(classes.id_at(classes.begin[drawn] + place), passes - first[drawn])

        return Epoch(at, 1 + int((last - first).max(initial=0)))

    def _given(self, seed: int, images: int) -> np.ndarray:
        """How many of the first `images` images of all epochs come from each class, [C]."""
        classes = np.arange(len(self._classes.size))
        cycle, rest = divmod(images, self.repeat * len(classes))
        turn, more = divmod(rest, self.repeat)
        order = scattered(classes, len(classes), hashed(seed, Purpose.CYCLE_KEY, cycle))
        given = np.full(len(classes), cycle * self.repeat)
        given[order[:turn]] += self.repeat
        given[order[turn]] += more
        return given

    @cached_property
    def _classes(self) -> Groups:
        return grouped(self.label)


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
