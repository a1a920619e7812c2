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


def tables_in(manifest: Manifest, files: Storage, names: Mapping[str, str]) -> Layout:
    """The tables of the .beton files of a set, whose `names` in the folder `files` are by those of the set."""
    lines, parts = [line for line in manifest.info.files if line["file"].endswith(".beton")], []
    for number, line in enumerate(lines):
        name = names[line["file"]]
        size = files.size(name) if isinstance(files, Local) else line["bytes"]
        with streamed(files, name, size) as file:
            parts.append(Layout.read(file, size, number, files.show(name)))
    return Layout.joined(parts)


def beton_spans(manifest: Manifest, layout: Layout, name: str) -> Spans:
    """The samples of the .beton `name`, one of those with these tables, that the manifest has."""
    names = [line["file"] for line in manifest.info.files if line["file"].endswith(".beton")]
    row_of, held = np.full(len(layout.where), -1), np.flatnonzero(manifest.beton >= 0)
    if len(held) and (last := int(manifest.beton.max())) >= len(row_of):
        raise ValueError(f"it holds {len(row_of):,} samples, the manifest names number {last:,}")
    row_of[manifest.beton[held]] = held
    if (row_of >= 0).sum() < len(held):
        raise ValueError("two samples of the manifest have one number in it")
    own = np.flatnonzero((layout.file == names.index(name)) & (row_of >= 0))
    own = own[np.argsort(layout.where[own])]
    return Spans(row_of[own], layout.where[own].astype(np.int64), layout.size[own], layout.mode[own] != RAW)
