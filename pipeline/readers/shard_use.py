"""Which shards an order of rows uses, and from when to when."""

from typing import NamedTuple

import numpy as np


class ShardUse(NamedTuple):
    """Shards in the order of their first use; positions count the rows of the order."""

    shard: np.ndarray  # [K] int64 shard numbers
    first: np.ndarray  # [K] int64 position of the first use, ascending
    last: np.ndarray  # [K] int64 position of the last use


def shard_use(shard: np.ndarray) -> ShardUse:
    """First and last use of each shard, from the shard [M] of each row of an order."""
    number, first = np.unique(shard, return_index=True)
    last = last_use(shard)[1]
    order = np.argsort(first)
    return ShardUse(number[order].astype(np.int64), first[order], last[order])


def last_use(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values of [M], ascending, and the position of each one's last use."""
    distinct, back = np.unique(values[::-1], return_index=True)
    return distinct, len(values) - 1 - back


def peak_bytes(first: np.ndarray, begin: np.ndarray, last: np.ndarray, size: np.ndarray) -> int:
    """Maximum number of bytes that are needed at a time. Item i of `size[i]` bytes is needed from the first use of
    shard `begin[i]` of a ShardUse to position `last[i]`; `first` [K] is that of the ShardUse."""
    change = np.zeros(len(first) + 1, np.int64)
    np.add.at(change, begin, size)
    np.subtract.at(change, np.searchsorted(first, last, side="right"), size)
    return int(change.cumsum().max(initial=0))
