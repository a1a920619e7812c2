"""Where samples are in the files of a set."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..formats.beton import RAW, Layout
from ..manifest import Manifest
from ..sources.local import Local
from ..sources.pieces import streamed
from ..sources.storage import Storage


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


def beton_spans_in(manifest: Manifest, files: Storage, names: Mapping[str, str], name: str) -> Spans:
    """The samples of the .beton `name` that the manifest has. `names`: of all .beton files of the set in the folder
    `files`, by their names in the set."""
    betons, parts = [line for line in manifest.info.files if line["file"].endswith(".beton")], []
    for number, line in enumerate(betons):
        held = names[line["file"]]
        size = files.size(held) if isinstance(files, Local) else line["bytes"]
        with streamed(files, held, size) as file:
            parts.append(Layout.read(file, size, number, files.show(held)))
    layout = Layout.joined(parts)
    row_of, rows = np.full(len(layout.where), -1), np.flatnonzero(manifest.beton >= 0)
    if len(rows) and (last := int(manifest.beton.max())) >= len(row_of):
        raise ValueError(f"it holds {len(row_of):,} samples, the manifest names number {last:,}")
    row_of[manifest.beton[rows]] = rows
    if (row_of >= 0).sum() < len(rows):
        raise ValueError("two samples of the manifest have one number in it")
    own = np.flatnonzero((layout.file == [line["file"] for line in betons].index(name)) & (row_of >= 0))
    own = own[np.argsort(layout.where[own])]
    return Spans(row_of[own], layout.where[own].astype(np.int64), layout.size[own], layout.mode[own] != RAW)
