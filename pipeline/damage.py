"""Damaged samples: the error that names one, and the samples that take their places."""

import sys

import numpy as np

from ..shards.errors import UserError, command
from ..shards.manifest import Manifest
from .batch import SampleReader
from .plan.order import Plan
from .plan.params import replacements

TRIES = 10  # replacements in turn for one position of a batch; then its error ends the epoch


def damaged(manifest: Manifest, reader: SampleReader, row: int, reason: str) -> UserError:
    """The error of a sample that does not decode: its name, its place and a remedy."""
    place = reader.locate(row)
    if manifest.info.kind == "plain":
        remedy = "mend or remove it"
    elif str(manifest.root) in place:
        remedy = f"`{command('python tools/verify_shards.py', manifest.root, '--repair')}` mends it"
    else:  # bytes that are not the set's own files
        remedy = "mend it there"
    return UserError(
        f"sample {row} ({manifest.keys[row]}) is damaged ({reason}), stored in {place}: {remedy}, "
        "`train.py --on-error skip` (`skip=True` of `open_loader`) trains without it"
    )


def check_size(manifest: Manifest, reader: SampleReader, row: int, height: int, width: int) -> None:
    """Raise the error of a sample whose size differs from the manifest, since boxes are drawn for that size."""
    if [height, width] != (size := manifest.hw[row].tolist()):
        raise damaged(manifest, reader, row, f"it is {height} x {width} px, the manifest says {size}")


class Replacer:
    """Replaces damaged samples, the same way for every reader and loader, if `allowed`; `skipped` has the reasons."""

    def __init__(self, manifest: Manifest, plan: Plan, skip: bool):
        self.manifest, self.seed, self.allowed = manifest, plan.seed, skip and plan.tail != "exact"
        self.skipped: dict[int, str] = {}  # row -> reason

    def replace(
        self,
        rows: np.ndarray,
        failed: dict[int, UserError],
        epoch: int,
        tries: int,
        occurrence: int | np.ndarray = 0,
    ) -> np.ndarray:
        """`rows` [N] with another sample at each failed position; raises the first error if none may take its place.

        `failed`: errors by position in `rows`. `tries`: earlier replacements in this batch, TRIES at most. `occurrence`
        is that of `replacements`.
        """
        if not self.allowed or tries == TRIES:
            raise next(iter(failed.values()))
        for position, error in failed.items():
            row = int(rows[position])
            if row not in self.skipped:
                print(f"skipped: {error}", file=sys.stderr)
            self.skipped[row] = str(error)
        return replacements(self.manifest, rows, [*failed], self.seed, epoch, tries, occurrence)
