"""What the numbers of a row may be.

They decide how much memory is asked for, and where machine code reads and writes, so no value is believed. All rows are
checked where a set is built, indexed, fetched or verified, and each one again when it is read: files can change, and a
set of 10^8 rows has to open at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from .errors import UserError
from .info import DatasetInfo
from .table import TABLE

SIDE = 65_535  # px: JPEG and .beton have 16 bits for a side
DEPTH = 3  # bytes per pixel: no stored image, compressed or not, takes more than its pixels


@dataclass(frozen=True)
class Bounds:
    """What holds for the rows of one set."""

    stored: bool  # the set has files of its own
    classes: int
    pixels: int  # px, of an image that may be read
    largest: int  # px, of the largest image, for which the buffers are made
    tars: np.ndarray | None  # [T] int64 bytes of each tar; None: the samples are in no tars
    betons: int | None  # bytes of the .betons, more than they have samples; None: the samples are in none

    @classmethod
    def of(cls, info: DatasetInfo, pixels: int, largest: int) -> Self:
        """The bounds of a set whose largest image has `largest` px, when at most `pixels` may be read."""
        tars = [line["bytes"] for line in info.files if line["file"].endswith(".tar")]
        sizes = np.array(tars, np.int64) if "webdataset" in info.formats else None
        betons = sum(line["bytes"] for line in info.files if line["file"].endswith(".beton"))
        numbers = betons if "ffcv" in info.formats else None
        return cls(info.kind != "plain", len(info.classes), pixels, largest, sizes, numbers)

    def check(self, root: Path, rows: np.ndarray, numbers: Mapping[str, np.ndarray]) -> None:
        """UserError for the first of `rows` [N] whose `numbers` [N] of columns.NUMBERS are out of bounds."""
        for fault, wrong in self._faults(**numbers):
            if wrong.any():
                at = int(wrong.argmax())
                shown = ", ".join(f"{name} {numbers[name][at].tolist()}" for name in numbers if name != "uid")
                raise UserError(
                    f"{root / TABLE if self.stored else root}: sample {rows[at]} has {fault} ({shown}): fetch or build "
                    "the set again, or raise --max-pixels for images that you know"
                )

    def _faults(
        self,
        label: np.ndarray,
        hw: np.ndarray,
        bytes: np.ndarray,
        shard: np.ndarray,
        offset: np.ndarray,
        beton: np.ndarray,
        **_: np.ndarray,
    ) -> Iterator[tuple[str, np.ndarray]]:
        """What may be wrong, and in which rows it is, [N] bool."""
        area, limit = hw.prod(axis=1, dtype=np.int64), min(self.pixels, self.largest)
        yield f"a label beyond its {self.classes:,} classes", (label < -1) | (label >= self.classes)
        yield f"a side that is not 1 to {SIDE:,} px", np.any((hw < 1) | (hw > SIDE), axis=1)
        yield f"more than {limit:,} px", area > limit
        if self.stored:
            yield f"a JPEG that is not 1 to {DEPTH * self.pixels:,} bytes", (bytes < 1) | (bytes > DEPTH * self.pixels)
        if self.tars is not None:
            outside = (shard < 0) | (shard >= len(self.tars))
            yield f"a place in none of its {len(self.tars)} tars", outside
            last = self.tars[shard] - bytes
            yield "a place outside of its tar", (offset < 0) | (offset > last)
        if self.betons is not None:
            yield "no number in its .beton", (beton < 0) | (beton >= self.betons)
