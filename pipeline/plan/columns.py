"""Where the samples of each shard or class are, from a column of the manifest, which may be mapped from a file."""

from typing import NamedTuple

import numpy as np

PART = 1 << 20  # samples that are looked at together: what is computed from the whole column would be as long


class Groups(NamedTuple):
    """The samples of S shards or classes."""

    value: np.ndarray  # [S] numbers of the shards or classes
    begin: np.ndarray  # [S] where each one begins in `ids`
    size: np.ndarray  # [S] its samples
    ids: np.ndarray | None  # [N] ids, one shard or class after the other; None: they lie so already

    def id_at(self, place: np.ndarray) -> np.ndarray:
        """The ids [M] int64 at places [M] of `ids`."""
        return place if self.ids is None else self.ids[place].astype(np.int64)


def grouped(column: np.ndarray) -> Groups:
    """The samples of each value of `column` [N], integers; values ascending. Where equal values lie together, as the
    shards of a set that a build wrote, a few numbers for each value; else 4 bytes per sample, 13 at the peak."""
    begin = _begins(column)
    value, first = np.unique(column[begin], return_index=True)
    if len(value) == len(begin):
        return Groups(value, begin[first], np.diff(begin, append=len(column))[first], None)
    value, size = np.unique(column, return_counts=True)
    ids = np.argsort(column, kind="stable").astype(np.int32 if len(column) < 1 << 31 else np.int64)
    return Groups(value, np.cumsum(size) - size, size, ids)


def _begins(column: np.ndarray) -> np.ndarray:
    """The samples at which a run of equal values begins; those up to the first value that comes again suffice."""
    found = np.arange(min(1, len(column)))
    for at in range(0, len(column), PART):
        part = column[at : at + PART + 1]
        found = np.concatenate([found, at + 1 + np.flatnonzero(part[1:] != part[:-1])])
        if len(np.unique(column[found])) < len(found):
            break
    return found
