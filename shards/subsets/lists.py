"""A list file's images in a source."""

from typing import NamedTuple

import numpy as np

from ..errors import UserError
from ..lists import shown
from ..sources.source import Source


class Listing(NamedTuple):
    """A list file as read."""

    file: str
    paths: list[str]  # [N] class/file
    label: np.ndarray  # [N] int32; -1 = the list has no labels
    sha256: str  # of the text


class Found(NamedTuple):
    """Where a source has the images of a list."""

    rows: np.ndarray  # [n] int64 positions in the source, ascending
    line: np.ndarray  # [n] int64 positions in the list
    missing: list[str]


def find(source: Source, wanted: Listing, *, allow_missing: bool) -> Found:
    """The listed images in the source; UserError names those it lacks, unless they may be missing."""
    lines = {path: line for line, path in enumerate(wanted.paths)}
    rows = [row for row, path in enumerate(source.paths) if path in lines]
    line = [lines.pop(source.paths[row]) for row in rows]  # and what stays is missing
    if lines and not (allow_missing and rows):
        raise UserError(
            f"{source.name} lacks {len(lines)} of the {len(wanted.paths)} files of {wanted.file}: "
            f"{shown(sorted(lines))}; complete the source, or go on without them: --allow-missing"
        )
    return Found(np.array(rows, np.int64), np.array(line, np.int64), sorted(lines))
