"""What every loader in the benchmark does, this project's and others."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from viewstream.augment.spec import RandomResizedCrop
from viewstream.shards.manifest import Manifest

Case = Callable[[int], int]  # epoch -> samples delivered


class Job(NamedTuple):
    """One round of a case: `batches` batches, one view per crop."""

    manifest: Manifest
    crops: Sequence[RandomResizedCrop]
    batch: int
    batches: int  # per round
    threads: int
    rendered: bool = False  # whole views, not crops alone

    @property
    def samples(self) -> int:
        """Samples per round, at most one epoch."""
        return min(self.batches * self.batch, len(self.manifest))
