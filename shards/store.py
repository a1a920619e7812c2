"""One call a sample, all formats at once: the same bytes in tars, `.beton` and folder, and a manifest row."""

import hashlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from . import beton, folder, tar
from .encode import Encoded
from .manifest import JSON, SCHEMA, uid_of
from .plan import Sample
from .source import key_of


class Store:
    """The open files of a build and its manifest's columns; `stack` closes the files, whole or not at all."""

    def __init__(self, out: Path, name: str, formats: tuple[str, ...], most: int, stack: ExitStack) -> None:
        self.path = out / f"{name}.beton"
        self.tars = stack.enter_context(tar.numbered(out, name)) if "webdataset" in formats else None
        self.beton = stack.enter_context(beton.create(self.path, most)) if "ffcv" in formats else None
        self.folder = stack.enter_context(folder.create(out / "folder")) if "folder" in formats else None
        self.rows: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}

    def __len__(self) -> int:
        return len(self.rows["uid"])

    def add(self, sample: Sample, one: Encoded) -> None:
        key, label, (jpeg, sha256, height, width) = key_of(sample.path), sample.label, one[:4]
        shard = offset = number = -1
        if self.tars:
            shard, offset = self.tars.add(sample.shard, key, label, jpeg, height, width)
        if self.beton:
            number = self.beton.add(jpeg, height, width, label)
        if self.folder:
            self.folder(key, jpeg)
        path = sample.path
        row = (uid_of(key), key, label, path, height, width, len(jpeg), sha256, shard, offset, number)
        for column, value in zip(self.rows.values(), row, strict=True):
            column.append(value)

    def files(self) -> list[JSON]:
        """What `dataset.json` says of each file, once `stack` has closed them: tars in order, then the `.beton`."""
        files = self.tars.files() if self.tars else []
        if self.beton:
            with self.path.open("rb") as file:  # its first bytes were written last, so the digest takes a reading
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = self.path.stat().st_size
            files.append({"file": self.path.name, "bytes": size, "samples": len(self), "sha256": sha256})
        return files
