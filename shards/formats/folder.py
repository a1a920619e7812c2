"""Single files, `folder/<key>.jpg`: for people and tools that want plain files."""

import os
from pathlib import Path


class FolderWriter:
    """A folder of JPEGs in the making, under a partial name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.made: set[str] = set()
        root.mkdir(exist_ok=True)

    def add(self, key: str, jpeg: bytes | memoryview) -> None:
        path = self.root / f"{key}.jpg"
        if (parent := key.rpartition("/")[0]) not in self.made:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.made.add(parent)
        path.write_bytes(jpeg)

    def sync(self) -> None:
        """Once for many: a sync for each of a million files would take hours."""
        os.sync()
