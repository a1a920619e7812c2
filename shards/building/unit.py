"""Writes the samples of one unit, the same bytes in every format, and collects what its record needs."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

from ..files import atomic, partial_path, place
from ..formats.beton import RAW, BetonWriter
from ..formats.folder import FolderWriter
from ..formats.tar import TarWriter, dali_index, index_path
from ..info import JSON
from .blocks import EncodedBlock
from .records import ROWS


class UnitWriter:
    """Appends blocks to the files of one unit, which goes into tar `number`; None for a format that is not built."""

    def __init__(
        self,
        number: int,
        tar: TarWriter | None,
        beton: BetonWriter | None,
        folder: FolderWriter | None,
        fields: tuple[str, ...],
    ) -> None:
        self.number, self.tar, self.beton, self.folder, self.fields = number, tar, beton, folder, fields
        self.rows: dict[str, list[Any]] = {name: [] for name in ROWS.names}
        self.kinds: Counter[str] = Counter()
        self.suspect: list[JSON] = []
        self.skipped: list[JSON] = []

    def add(self, encoded: EncodedBlock) -> None:
        """Append a block to every format."""
        with encoded.opened() as data:
            self._append(encoded, data)
        self.kinds.update(encoded.kinds)
        self.suspect += encoded.suspect
        self.skipped += encoded.skipped

    def _append(self, encoded: EncodedBlock, data: memoryview) -> None:
        spans = zip(encoded.rows["offset"], encoded.rows["bytes"], strict=True)
        jpegs = [data[start : start + length] for start, length in spans]
        columns = encoded.rows | self._add_tar(encoded, data) | self._add_beton(encoded, jpegs)
        for name, values in columns.items():
            self.rows[name] += values
        if self.folder:
            for key, jpeg in zip(encoded.rows["key"], jpegs, strict=True):
                self.folder.add(key, jpeg)

    def _add_tar(self, encoded: EncodedBlock, data: memoryview) -> dict[str, list[Any]]:
        """Append a block to the tar; the columns shard, offset and field_offset of its samples."""
        count = len(encoded.rows["uid"])
        if not self.tar:
            return {"shard": [-1] * count, "offset": [-1] * count}
        start = self.tar.bytes
        self.tar.write(data, encoded.digested)
        return {
            "shard": [self.number] * count,
            "offset": [start + at for at in encoded.rows["offset"]],
            "field_offset": [[start + at if at >= 0 else -1 for at in row] for row in encoded.rows["field_offset"]],
        }

    def _add_beton(self, encoded: EncodedBlock, jpegs: list[memoryview]) -> dict[str, list[Any]]:
        """Append a block to the .beton; the columns beton, where, stored, raw and pixels of its samples."""
        count = len(jpegs)
        raw = [row in encoded.raw for row in range(count)]
        pixels = [hashlib.sha256(encoded.raw[row]).digest() if raw[row] else None for row in range(count)]
        if not self.beton:
            absent = {name: [-1] * count for name in ("beton", "where", "stored")}
            return {**absent, "raw": raw, "pixels": pixels}
        first = self.beton.samples
        shapes = zip(*(encoded.rows[name] for name in ("sha256", "height", "width", "label")), strict=True)
        for row, (sha256, *shape) in enumerate(shapes):
            if raw[row]:
                self.beton.add(encoded.raw[row], pixels[row] or b"", *shape, mode=RAW)
            else:
                self.beton.add(jpegs[row], sha256, *shape)
        part = slice(first, self.beton.samples)
        return {
            "beton": list(range(first, self.beton.samples)),
            "where": self.beton.rows["where"][part].tolist(),
            "stored": self.beton.sizes[part].tolist(),
            "raw": raw,
            "pixels": pixels,
        }

    def end_tar(self, path: Path) -> JSON | None:
        """Finish the tar and its index under the names that follow from `path`; what `dataset.json` tells about it.

        None without a tar. A tar whose samples were all skipped is deleted, and None too.
        """
        samples = len(self.rows["uid"])
        if not self.tar:
            return None
        if not samples:
            partial_path(path).unlink()
            return None
        self.tar.end()
        self.tar.file.flush()
        place(partial_path(path), path)
        columns = (self.rows[name] for name in ("key", "label", "height", "width", "offset", "bytes", "field_bytes"))
        with atomic(index_path(path), "w") as file:
            file.write(dali_index(zip(*columns, strict=True), self.fields))
        return {"file": path.name, "bytes": self.tar.bytes, "samples": samples, "digest": self.tar.digest.hexdigest()}
