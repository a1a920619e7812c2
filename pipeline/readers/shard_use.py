"""Which shards an order of rows uses, and from when to when."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class ShardUse(NamedTuple):
    """Shards in the order of their first use; positions count the rows of the order."""

    shard: np.ndarray  # [K] int64 shard numbers
    first: np.ndarray  # [K] int64 position of the first use, ascending
    last: np.ndarray  # [K] int64 position of the last use


def shard_use(parts: Iterable[np.ndarray], shards: int) -> ShardUse:
    """First and last use of each of `shards` shards, from the shard of each row of an order, in `parts`. In memory: a
    few numbers for each shard and one part."""
    first, last, at = np.full(shards, -1), np.full(shards, -1), 0
    for part in parts:
        new = np.flatnonzero(first[part] < 0)[::-1]  # of equal indices the last one counts: the first use
        first[part[new]] = at + new
        last[part] = at + np.arange(len(part))
        at += len(part)
    used = np.flatnonzero(first >= 0)
    used = used[np.argsort(first[used])]
    return ShardUse(used, first[used], last[used])


def peak_bytes(first: np.ndarray, begin: np.ndarray, last: np.ndarray, size: np.ndarray) -> int:
    """Maximum number of bytes that are needed at a time. Item i of `size[i]` bytes is needed from the first use of
    shard `begin[i]` of a ShardUse to position `last[i]`; `first` [K] is that of the ShardUse."""
    change = np.zeros(len(first) + 1, np.int64)
    np.add.at(change, begin, size)
    np.subtract.at(change, np.searchsorted(first, last, side="right"), size)
    return int(change.cumsum().max(initial=0))
