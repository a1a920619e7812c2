"""Single files, `folder/<key>.jpg`: for people and tools that want plain files."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def create(root: Path) -> Iterator[Callable[[str, bytes], None]]:
    """A function that stores a JPEG under a key; the folder appears under its name when the block ends well."""
    partial = root.with_name(root.name + ".partial")
    made: set[str] = set()

    def add(key: str, jpeg: bytes) -> None:
        path = partial / f"{key}.jpg"
        if (parent := key.rpartition("/")[0]) not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(parent)
        path.write_bytes(jpeg)

    partial.mkdir()
    yield add
    os.sync()  # once for all: a sync for each of a million files would take hours
    partial.replace(root)
