"""Where samples are in the files of a set."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from ..formats.beton import RAW, Layout
from ..manifest import Manifest


class Spans(NamedTuple):
    """Where n samples are in a file, in file order."""

    rows: np.ndarray  # [n]
    start: np.ndarray  # [n] bytes
    length: np.ndarray  # [n] bytes
    whole: np.ndarray  # [n] bool: the bytes are the JPEG whose digest the manifest has, not pixels


def tar_spans(manifest: Manifest, number: int) -> Spans:
    """The samples of tar `number`."""
    rows = np.flatnonzero(manifest.shard == number)
    rows = rows[np.argsort(manifest.offset[rows])]
    return Spans(rows, manifest.offset[rows], manifest.bytes[rows], np.ones(len(rows), bool))


def beton_spans(manifest: Manifest, number: int, elsewhere: Mapping[int, Path] = MappingProxyType({})) -> Spans:
    """The samples of .beton `number` that the manifest has. `elsewhere`: where the set's .beton files lie that are not
    in its folder, by their numbers."""
    paths = [elsewhere.get(n, path) for n, path in enumerate(manifest.betons())]
    layout = Layout.of(*paths)
    row_of, held = np.full(len(layout.where), -1), np.flatnonzero(manifest.beton >= 0)
    if len(held) and (last := int(manifest.beton.max())) >= len(row_of):
        raise ValueError(f"it holds {len(row_of):,} samples, the manifest names number {last:,}")
    row_of[manifest.beton[held]] = held
    if (row_of >= 0).sum() < len(held):
        raise ValueError("two samples of the manifest have one number in it")
    own = np.flatnonzero((layout.file == number) & (row_of >= 0))
    own = own[np.argsort(layout.where[own])]
    return Spans(row_of[own], layout.where[own].astype(np.int64), layout.size[own], layout.mode[own] != RAW)
