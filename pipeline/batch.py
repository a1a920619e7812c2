"""What a loader yields, and the protocol that all loaders follow."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from torch import Tensor

from ..shards.formats.reader import SampleReader

__all__ = ["Batch", "Loader", "SampleReader"]


class Batch(NamedTuple):
    """On the training device, augmented and normalized; in training N is the same on every rank."""

    views: tuple[Tensor, ...]  # each [N, 3, S, S], channels_last
    target: Tensor  # [N] int64 class, -1 where unlabeled
    index: Tensor  # [N] int64 manifest rows, the same through every reader  # pyright: ignore


class Loader(Protocol):
    """Yields batches that depend only on the plan, the recipe and the epoch."""

    def __len__(self) -> int:
        """Steps per epoch, the same on every rank."""
        ...

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches `start`.. of epoch `number`, equal to those of the whole epoch from there on; a loader may begin to
        read them at this call. An iterator that is dropped ends its reads."""
        ...

    def close(self) -> None:
        """End the threads and close the files."""
        ...
