"""What loaders hand to trainers, and what a reader hands to the loader."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor


class Batch(NamedTuple):
    """On the training device, augmented and normalized; in training every rank sees the same N."""

    views: tuple[Tensor, ...]  # each [N, 3, S, S], channels_last
    target: Tensor  # [N] int64 class, -1 where unlabeled
    index: Tensor  # [N] int64 manifest rows, the same through every reader  # pyright: ignore


class Loader(Protocol):
    """A stream of batches: a pure function of (plan, recipe, epoch)."""

    def __len__(self) -> int:
        """Steps per epoch, the same on every rank."""
        ...

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches `start`.. of epoch `number`; equal to the tail of the whole epoch."""
        ...

    def close(self) -> None:
        """End the threads and close the files."""
        ...


class SampleReader(Protocol):
    """One storage format of a data set."""

    def read(self, row: int) -> bytes | np.ndarray:
        """The JPEG of a manifest row, or its pixels [H, W, 3] uint8 where the format stores them raw. Thread-safe."""
        ...

    def locate(self, row: int) -> str:
        """Where a sample lies, for messages."""
        ...

    def prefetch(self, rows: np.ndarray) -> None:
        """Rows [M] int64 that are read next, in this order: a chance to read ahead."""
        ...

    def close(self) -> None:
        """Close the files; nobody reads any more."""
        ...
