"""Single files, `folder/<key>.jpg`: for people and programs that need plain files."""

import os
from pathlib import Path


class FolderWriter:
    """Writes JPEGs into folder `root`; the caller renames it when the set is complete."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parents: set[str] = set()  # folders that exist
        root.mkdir(exist_ok=True)

    def add(self, key: str, jpeg: bytes | memoryview) -> None:
        path = self.root / f"{key}.jpg"
        if (parent := key.rpartition("/")[0]) not in self.parents:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.parents.add(parent)
        path.write_bytes(jpeg)

    def sync(self) -> None:
        """Flush all files to the disk at once: one sync for each of a million files would take hours."""
        os.sync()
