"""Samples of a tar in few large reads: which bytes are read at once, and the samples cut out of them."""

from collections.abc import Iterator
from functools import cached_property
from typing import BinaryIO

import numpy as np

from ...shards.formats.tar import BLOCK
from ...shards.manifest import Manifest, uid_of
from ...shards.sources.source import key_of
from ...shards.sources.tarwalk import parsed
from .reorder import Group

PIECE = 8 << 20  # bytes that are read at once: storage that is slow at seeks is at full speed
GAP = 1 << 20  # bytes without anything wanted that are still read through: a seek takes longer
GROUP = 32  # samples that are handed over together
LONGEST = 98  # characters of a name that stands whole in the header before a member, with "./" before it


def pieces(begin: np.ndarray, end: np.ndarray) -> Iterator[slice]:
    """The ranges [begin, end) [M], ascending and apart, in runs that are read at once: no gap of more than GAP, and at
    most PIECE bytes, unless a single range is longer."""
    for run in np.split(np.arange(len(begin)), np.flatnonzero(begin[1:] - end[:-1] > GAP) + 1):
        at, stop = int(run[0]), int(run[-1]) + 1
        while at < stop:
            after = max(at + 1, at + int(np.searchsorted(end[at:stop], begin[at] + PIECE, side="right")))
            yield slice(at, after)
            at = after


def skip(stream: BinaryIO, at: int, to: int, *, seek: bool) -> None:
    """Go on from byte `at` of a stream to byte `to`; a stream without `seek` is read through."""
    if seek:
        stream.seek(to)
        return
    while at < to and (passed := stream.read(min(PIECE, to - at))):
        at += len(passed)


class Cutter:
    """Cuts samples out of pieces of a set's tars. The header before each must have its name and size, so a tar with
    other members is found out at the first of them; other bytes under the same header are not."""

    def __init__(self, manifest: Manifest):
        self.manifest = manifest

    def groups(self, rows: np.ndarray, piece: bytes, first: int) -> Iterator[Group]:
        """The samples of `rows` in a piece of their tar that begins at byte `first`, in groups of up to GROUP.
        ValueError after the last one before a sample that is not there."""
        group: Group = []
        offsets, sizes = self.manifest.offset[rows] - first, self.manifest.bytes[rows]
        for row, at, size in zip(rows.tolist(), offsets.tolist(), sizes.tolist(), strict=True):
            if fault := self._fault(row, size, piece[at - BLOCK : at], len(piece) - at):
                yield group
                raise ValueError(fault)
            group.append((row, piece[at : at + size]))
            if len(group) == GROUP:
                yield group
                group = []
        yield group

    def _fault(self, row: int, size: int, header: bytes, left: int) -> str:
        """Why this is not the header of a sample of `size` bytes that `left` bytes follow, "" if it is."""
        if left < size:
            return "the tar ends before it does"
        try:
            name, stored, _ = parsed(header)
            name = name.removeprefix("./")
            if stored == size and uid_of(key_of(name)) == self.manifest.uid[row]:
                return ""
        except ValueError:
            return "no header of a member precedes it"
        known = self._names[row] if self._names else f"{self.manifest.key(row)}.jpg"
        whole = not self._names or (known.isascii() and len(known) <= LONGEST)  # else a further header has the name
        if whole and name != known:
            return "it is not in the tar"
        return "" if stored == size else f"it has {stored} bytes, not {size}"

    @cached_property
    def _names(self) -> list[str]:
        """Names of the members that another tool wrote; keys name those of our own tars."""
        return self.manifest.strings("source") if self.manifest.info.kind == "indexed" else []
