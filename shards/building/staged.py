"""A parquet source on its way to workers: its images lie in one file, or one object, of which they read ranges."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..sources.readers import Ranges
from ..sources.remote import Remote
from ..sources.source import Source
from ..sources.stage import BYTES, INDEX
from .folder import BUILDING
from .target import Folder, Target


def staged(source: Source, rows: np.ndarray, place: Target, scratch: Path) -> Source:
    """The source with its images where all workers read them: as it is, or copied into the build at `place`. A copy of
    an earlier run is used again."""
    if not source.stage:
        return source
    if isinstance(place, Folder):
        return source.stage(source, place.root / BUILDING, rows)
    images, names = scratch / BYTES, place.names(BUILDING)
    if {BYTES, INDEX} <= names.keys():  # of images that are there their index is fetched, and their length is enough
        place.fetch(f"{BUILDING}/{INDEX}", scratch)
        with images.open("wb") as file:
            file.truncate(names[BYTES])
    before = images.stat().st_ino if images.exists() else 0
    source = source.stage(source, scratch, rows)
    if images.stat().st_ino != before:  # it was copied now
        place.remove(f"{BUILDING}/{INDEX}")  # an index must not outlive its images
        for path in (images, scratch / INDEX):
            place.put(path, f"{BUILDING}/{path.name}")
    reader = source.reader
    assert isinstance(reader, Ranges)
    return replace(source, reader=replace(reader, storage=Remote(place.url).inside(BUILDING)))
