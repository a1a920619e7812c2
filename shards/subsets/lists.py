"""The images of a list file in a source."""

from typing import NamedTuple

import numpy as np

from ..errors import UserError
from ..lists import shown
from ..sources.source import Source


class Listing(NamedTuple):
    """A list file."""

    file: str
    paths: list[str]  # [N] class/file
    label: np.ndarray  # [N] int32; -1 = the list has no labels
    sha256: str  # of the text


class Found(NamedTuple):
    """Images of a list that a source has."""

    rows: np.ndarray  # [n] int64 positions in the source, ascending
    line: np.ndarray  # [n] int64 positions in the list
    missing: list[str]  # sorted paths that the source lacks


def find(source: Source, listing: Listing, *, allow_missing: bool) -> Found:
    """The listed images in the source. UserError names missing ones, unless they are allowed and some are found."""
    lines = {path: line for line, path in enumerate(listing.paths)}
    rows = [row for row, path in enumerate(source.paths) if path in lines]
    line = [lines.pop(source.paths[row]) for row in rows]  # what remains in `lines` is missing
    if lines and not (allow_missing and rows):
        raise UserError(
            f"{source.name} lacks {len(lines)} of the {len(listing.paths)} files of {listing.file}: "
            f"{shown(sorted(lines))}; complete the source, or leave them out with --allow-missing"
        )
    return Found(np.array(rows, np.int64), np.array(line, np.int64), sorted(lines))
