"""The base class of all readers: one sample's bytes by its row in the manifest."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np


class Extents(NamedTuple):
    """Where the JPEGs of N samples lie in open files."""

    file: np.ndarray  # [N] int64 descriptors
    first: np.ndarray  # [N] int64 bytes before it
    size: np.ndarray  # [N] int64 bytes; 0: of this one only `read` knows


class SampleReader(ABC):
    """Reads one data set in one storage format; `with reader:` closes it. A subclass writes `read` and `locate`."""

    random_access = True  # False: `read` returns only what `prefetch` listed

    @abstractmethod
    def read(self, row: int) -> bytes | np.ndarray:
        """JPEG of a manifest row, or its pixels [H, W, 3] uint8 where the format stores them raw. Many threads call
        this at once. UserError names a sample that is missing or truncated."""

    @abstractmethod
    def locate(self, row: int) -> str:
        """File that holds a sample and its position there, for messages."""

    def extents(self, rows: np.ndarray) -> Extents | None:
        """Where the JPEGs of `rows` [N] lie, so that many are read in one call, which may take the place of `read`.
        None by default: only `read` knows."""
        return None

    def prefetch(self, rows: Iterator[np.ndarray]) -> None:  # noqa: B027
        """The rows that will be read next, in about this order, up to the end of an epoch: arrays [N] int64, which are
        computed as they are taken, here or in one thread. Rows of an earlier call are not read any more. Empty by
        default: the page cache serves local files well without a hint."""

    def close(self) -> None:  # noqa: B027
        """Close the files; no read may follow. Empty by default: a reader that opens a file per sample keeps none
        open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
