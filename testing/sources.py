"""The laws of a source of images."""

import pickle
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ..shards.sources.source import LONGEST_KEY, Source, key_of
from .laws import require

NEAR = 64  # bytes that `size` may be off: a TSV row tells the length of its base64 text alone


def check_source(open_source: Callable[[], Source], *, samples: int = 64) -> None:
    """BrokenLaw unless a source keeps its laws; up to `samples` of its images are read.

    `open_source` opens the source again at each call.
    """
    source = open_source()
    name = f"source {source.name}"
    again = open_source().paths == source.paths
    require(again, name, "a source lists the same paths in the same order every time")
    _check_names(source, name)
    _check_labels(source, name)
    with TemporaryDirectory() as folder:
        rows = np.unique(np.linspace(0, len(source) - 1, min(samples, len(source))).astype(int))
        staged = source.stage(source, Path(folder), rows) if source.stage else source
        _check_reads(staged, rows.tolist(), name)


def _check_names(source: Source, name: str) -> None:
    lengths = {len(source.paths), len(source.label), len(source.places)}
    require(lengths == {len(source)}, name, "paths, labels and places have one length", str(lengths))
    order = sorted(zip(source.label.tolist(), source.paths, strict=True))
    require([path for _, path in order] == source.paths, name, "images are sorted by label, then by path")
    keys = [key_of(path) for path in source.paths]
    require(len(set(keys)) == len(keys), name, "every image has a key of its own")
    longest = max((len(key.encode()) for key in keys), default=0)
    require(longest <= LONGEST_KEY, name, f"keys have at most {LONGEST_KEY} bytes", str(longest))


def _check_labels(source: Source, name: str) -> None:
    require(source.label.dtype == np.int32, name, "labels are int32", str(source.label.dtype))
    allowed = {-1, *range(len(source.classes))}
    wrong = set(source.label.tolist()) - allowed
    require(not wrong, name, "labels count the classes from 0, and -1 is unlabeled", f"{sorted(wrong)[:4]}")


def _check_reads(source: Source, rows: list[int], name: str) -> None:
    reader = pickle.loads(pickle.dumps(source.reader))  # as a worker process gets it
    for row in rows:
        place, path = source.places[row], source.paths[row]
        data = source.reader.read(place)
        require(isinstance(data, bytes) and len(data) > 0, name, "read returns the bytes of an image file", path)
        require(reader.read(place) == data, name, "a pickled reader reads the same bytes", path)
        close = abs(source.reader.size(place) - len(data)) <= NEAR
        require(close, name, "size tells the length of what read returns", path)
