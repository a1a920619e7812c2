"""Which image goes into which tar, and how the work is split: known before the first image is read."""

import hashlib
import itertools
import re
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..encoding.encode import Encoding
from ..errors import UserError
from ..keyed import shuffled
from ..sources.passed import PassedOver
from ..sources.source import Source
from ..subsets.part import Part

BLOCK_SAMPLES, BLOCK_BYTES = 64, 16_000_000
BYTES_PER_PIXEL = 0.25  # per max_side squared: a photograph of 4:3 at quality 90
BYTES_PER_SHORT_PIXEL = 0.42  # per short_side squared: the same photograph
TAR_BYTES_PER_SAMPLE = 3 * 512 + 3 * 512  # headers, and padding of the last blocks


class Sample(NamedTuple):
    """An image to store: its path and place in the source, its label."""

    path: str
    place: Any
    label: int


@dataclass(frozen=True, eq=False)
class Unit:
    """The samples of one planned tar. A build finishes one unit at a time; resuming keeps a unit or makes it again."""

    source: Source
    rows: np.ndarray  # [n] int64 in the source, storage order
    label: np.ndarray  # [n] int32
    size: np.ndarray  # [n] int64 bytes in the source
    total: int  # samples of all units: their table at the start of a .beton shifts what follows

    def __len__(self) -> int:
        return len(self.rows)

    def alone(self) -> "Unit":
        """The same unit of a source that holds its samples alone: small enough to be sent to another machine."""
        source, rows = self.source, self.rows.tolist()
        places = source.places[self.rows] if isinstance(source.places, np.ndarray) else [source.places[r] for r in rows]
        own = replace(source, label=self.label, paths=[source.paths[row] for row in rows], places=places, stage=None)
        return replace(self, source=replace(own, passed=PassedOver()), rows=np.arange(len(rows)))

    def samples(self, block: slice) -> list[Sample]:
        paths, places = self.source.paths, self.source.places
        rows, label = self.rows[block].tolist(), self.label[block].tolist()
        return [Sample(paths[row], places[row], c) for row, c in zip(rows, label, strict=True)]

    def blocks(self) -> list[slice]:
        """The parts that one worker does at a time: at most 64 samples, 16 MB of source or a single larger image."""
        starts, room = [0], BLOCK_BYTES
        for at, size in enumerate(self.size.tolist()):
            if at > starts[-1] and (size > room or at - starts[-1] == BLOCK_SAMPLES):
                starts.append(at)
                room = BLOCK_BYTES
            room -= size
        return [slice(*ends) for ends in itertools.pairwise([*starts, len(self)])]

    def digest(self) -> str:
        """A hash of everything that decides this unit's bytes, except the options and the pixels themselves."""
        text = "\n".join(
            f"{self.source.paths[row]}\t{label}\t{size}"
            for row, label, size in zip(self.rows.tolist(), self.label.tolist(), self.size.tolist(), strict=True)
        )
        return hashlib.sha256(f"{self.total}\n{text}".encode()).hexdigest()


def layout(source: Source, part: Part, encoding: Encoding, shard_bytes: int, seed: int) -> list[Unit]:
    """The units of a build: a keyed shuffle of the samples, divided where the expected bytes fill a shard.

    Depends on the source's sizes and the options alone, never on encoded sizes, so any unit can be made without the
    others."""
    order = shuffled(source.uids(part.rows), seed, "storage")
    rows, label = part.rows[order], part.label[order]
    size = np.fromiter((source.reader.size(source.places[row]) for row in rows), np.int64, len(rows))
    more = _field_bytes(source, rows)
    filled = np.cumsum(np.minimum(size, _expected_bytes(encoding)) + more + TAR_BYTES_PER_SAMPLE)
    size += more
    shard = np.concatenate([[0], filled[:-1]]) // shard_bytes
    ends = np.flatnonzero(np.diff(shard)) + 1
    parts = (np.split(column, ends) for column in (rows, label, size))
    return [Unit(source, *columns, total=len(rows)) for columns in zip(*parts, strict=True)]


def _field_bytes(source: Source, rows: np.ndarray) -> np.ndarray:
    """[n] bytes of the further members of each sample, which are stored unchanged."""
    if not source.fields:
        return np.zeros(len(rows), np.int64)
    return np.maximum(np.asarray(source.places)[rows, 4::2], 0).sum(axis=1)


def _expected_bytes(encoding: Encoding) -> int:
    """The size that an encoded image is expected to have at most, in bytes."""
    if encoding.keep:
        return np.iinfo(np.int64).max
    if encoding.short_side:
        return int(BYTES_PER_SHORT_PIXEL * encoding.short_side**2)
    return int(BYTES_PER_PIXEL * encoding.max_side**2)


def bytes_of(text: str) -> int:
    """`256MB` -> 256_000_000; KB, MB and GB are powers of ten; UserError for anything else."""
    match = re.fullmatch(r"(\d+)\s*([KMG]?)B?", text.strip(), re.IGNORECASE)
    if not match or not int(match[1]):
        raise UserError(f"--shard-size {text!r} is not a size: write it like 256MB")
    return int(match[1]) * {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}[match[2].upper()]
