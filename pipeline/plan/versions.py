"""Versions of the orders. Those of version 2 compute each position by itself; those of version 1, which a run that
began with them keeps, are arrays of a whole epoch: 8 bytes per sample, 32 at the peak, for a permutation."""

import numpy as np

from ...augment.draw import hashed
from ...shards.errors import UserError
from ...shards.keyed import Purpose
from .step import Step, once

VERSION = 2  # of the orders of new runs


def known(version: int) -> bool:
    """Whether an order is of the current version; False for version 1. UserError for any other."""
    if version not in (1, VERSION):
        raise UserError(
            f"orders of version {version} are unknown here, where {VERSION} is the latest: take the version of this "
            "project that made them"
        )
    return version == VERSION


def permutation(samples: int, seed: int, epoch: int) -> Step:
    """Each id once."""
    return once(np.argsort(hashed(seed, epoch, np.arange(samples, dtype=np.uint64)), kind="stable"))


def window_shuffle(shard: np.ndarray, window: int, seed: int, epoch: int) -> Step:
    """`WindowShuffle` of `shard` [samples]."""
    shards, index = np.unique(shard, return_inverse=True)
    order = np.argsort(hashed(seed, epoch, Purpose.SHARD_ORDER, shards.astype(np.uint64)), kind="stable")
    block = np.argsort(order) // window  # of each shard
    return once(np.lexsort((hashed(seed, epoch, np.arange(len(shard))), block[index])))


def balanced(label: np.ndarray, repeat: int, seed: int, epoch: int) -> Step:
    """`Balanced` of `label` [samples]."""
    counts = np.bincount(label)
    at = (epoch + 1) * len(label) + np.arange(len(label))  # images drawn before; epoch -1 is the first
    cycle, turn = np.divmod(at // repeat, len(counts))
    cycles = np.arange(int(cycle[0]), int(cycle[-1]) + 1, dtype=np.uint64)[:, None]
    classes = np.argsort(hashed(seed, Purpose.CLASS_ORDER, cycles, np.arange(len(counts))), axis=1, kind="stable")
    drawn = classes[cycle - cycle[0], turn]  # [len] class at each position
    number = cycle * repeat + at % repeat  # images that this class gave before
    passes = number // counts[drawn]
    first = np.full(len(counts), passes.max())
    np.minimum.at(first, drawn, passes)
    return Step(_images(label, seed, drawn, number, counts), passes - first[drawn])


def _images(label: np.ndarray, seed: int, drawn: np.ndarray, number: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Ids by position, [len], from the class at each position and the images it gave before."""
    out = np.empty(len(drawn), np.int64)
    members = np.split(np.argsort(label, kind="stable"), np.cumsum(counts)[:-1])
    ends = np.cumsum(np.bincount(drawn, minlength=len(counts)))
    positions = np.split(np.argsort(drawn, kind="stable"), ends[:-1])
    for name, (ids, at) in enumerate(zip(members, positions, strict=True)):
        if not len(at):
            continue
        first, last = int(number[at[0]]), int(number[at[-1]])  # consecutive, since positions ascend
        passes = np.arange(first // len(ids), last // len(ids) + 1, dtype=np.uint64)[:, None]
        order = np.argsort(hashed(seed, Purpose.IMAGE_ORDER, name, passes, ids), axis=1, kind="stable")
        out[at] = ids[order].ravel()[first % len(ids) :][: len(at)]
    return out
