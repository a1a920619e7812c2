"""The files of a set in the making: a unit at a time, the same bytes in every format, resumable behind each unit."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..files import atomic, clear
from ..formats import beton
from ..formats.folder import FolderWriter
from ..formats.tar import TarWriter, dali_index, index_path, wids_index
from ..manifest import JSON, SCHEMA
from .blocks import EncodedBlock
from .records import ROWS, Record


class SetWriter:
    """Writes units; `done` are those that an earlier, interrupted build wrote. `stack` closes the files."""

    def __init__(
        self, out: Path, name: str, formats: tuple[str, ...], most: int, done: list[Record], stack: ExitStack
    ) -> None:
        self.out, self.name, self.formats, self.records = out, name, formats, done
        self.path, self.plain = out / f"{name}.beton", out / "folder"
        partial, loose = _partial(self.path), _partial(self.plain)
        for whole, part in ((self.path, partial), (self.plain, loose)):  # killed while it was finishing
            if whole.exists() and not part.exists():
                whole.rename(part)
        kept = [out / r.tar["file"] for r in done if r.tar]
        behind = {partial, loose} if done else set()
        clear(out, {out / "building", *kept, *map(index_path, kept), *behind})
        self.beton = self.folder = None
        if "ffcv" in formats:
            self.beton = beton.BetonWriter(stack.enter_context(partial.open("r+b" if done else "w+b")), most)
            if done:
                _restore(self.beton, done)
        if "folder" in formats:
            self.folder = FolderWriter(loose)
        self._rows: dict[str, list[Any]] = {}
        self._tar: TarWriter | None = None

    @contextmanager
    def unit(self, digest: str) -> Iterator[Record]:
        """Between `add`s of one unit's blocks; its record is written when the block ends well."""
        record = Record(ROWS.empty_table(), digest, None, (0, 0), Counter(), [], [])
        self._rows = {name: [] for name in ROWS.names}
        tars = sum(r.tar is not None for r in self.records)
        file = f"{self.name}-{tars:06d}.tar"
        with ExitStack() as stack:
            if "webdataset" in self.formats:
                self._tar = TarWriter(stack.enter_context(open(_partial(self.out / file), "wb")))
            yield record
            record = record._replace(rows=pa.table(self._rows, schema=ROWS), kinds=dict(record.kinds))
            if self._tar:
                record = record._replace(tar=self._end_tar(self._tar, self.out / file, tars))
        if self.folder:
            self.folder.sync()
        if self.beton:
            self.beton.sync()
            record = record._replace(beton=(self.beton.page, self.beton.position))
        record.write(self.out / "building", len(self.records))
        self.records.append(record)

    def add(self, record: Record, encoded: EncodedBlock) -> None:
        """Append a block; the unit's record counts what was odd in it."""
        with encoded.opened() as data:
            self._append(encoded, data)
        assert isinstance(record.kinds, Counter)
        record.kinds.update(encoded.kinds)
        record.suspect.extend(encoded.suspect)
        record.skipped.extend(encoded.skipped)

    def _append(self, encoded: EncodedBlock, data: memoryview) -> None:
        base = self._tar.bytes if self._tar else 0
        if self._tar:
            self._tar.write(data, encoded.digested)
        ends = zip(encoded.rows["offset"], encoded.rows["bytes"], strict=True)
        jpegs = [data[start : start + length] for start, length in ends]
        count = len(encoded.rows["uid"])
        tars = sum(r.tar is not None for r in self.records) if self._tar else -1
        columns = {
            **encoded.rows,
            "offset": [base + at if self._tar else -1 for at in encoded.rows["offset"]],
            "shard": [tars] * count,
            **dict(zip(("beton", "where", "stored", "raw", "pixels"), self._add_beton(encoded, jpegs), strict=True)),
        }
        for name, values in columns.items():
            self._rows[name] += values
        if self.folder:
            for key, jpeg in zip(encoded.rows["key"], jpegs, strict=True):
                self.folder.add(key, jpeg)

    def _add_beton(self, encoded: EncodedBlock, jpegs: list[memoryview]) -> tuple[list[Any], ...]:
        """Sample number, place, size, mode and digest of the pixels of each of the block's samples in the .beton."""
        count = len(jpegs)
        raw = [row in encoded.raw for row in range(count)]
        pixels = [hashlib.sha256(encoded.raw[row]).digest() if raw[row] else None for row in range(count)]
        if not self.beton:
            return [-1] * count, [-1] * count, [-1] * count, raw, pixels
        first = self.beton.samples
        shapes = zip(*(encoded.rows[name] for name in ("sha256", "height", "width", "label")), strict=True)
        for row, (sha256, *shape) in enumerate(shapes):
            if raw[row]:
                self.beton.add(encoded.raw[row], pixels[row] or b"", *shape, mode=beton.RAW)
            else:
                self.beton.add(jpegs[row], sha256, *shape)
        part = slice(first, self.beton.samples)
        where, stored = self.beton.rows["where"][part].tolist(), self.beton.sizes[part].tolist()
        return list(range(first, self.beton.samples)), where, stored, raw, pixels

    def _end_tar(self, tar: TarWriter, path: Path, number: int) -> JSON | None:
        """Finish a tar and its index; one of which every sample was skipped leaves neither."""
        samples = len(self._rows["uid"])
        self._tar = None
        if not samples:
            _partial(path).unlink()
            return None
        tar.end()
        tar.file.flush()
        os.fsync(tar.file.fileno())
        _partial(path).replace(path)
        columns = (self._rows[name] for name in ("key", "label", "height", "width", "offset", "bytes"))
        with atomic(index_path(path), "w") as file:
            file.write(dali_index(zip(*columns, strict=True)))
        return {"file": path.name, "bytes": tar.bytes, "samples": samples, "digest": tar.digest.hexdigest()}

    def finish(self) -> tuple[pa.Table, tuple[JSON, ...]]:
        """Give every file its name: the manifest's rows, and what `dataset.json` says of the files."""
        table = pa.concat_tables([record.rows for record in self.records]).combine_chunks()
        files = [record.tar for record in self.records if record.tar]
        if files:
            with atomic(self.out / f"{self.name}.wids.json", "w") as file:
                file.write(wids_index(self.name, files))
        if self.beton:
            digest = self.beton.end()
            self.beton.sync()
            _partial(self.path).replace(self.path)
            size = self.path.stat().st_size
            files.append({"file": self.path.name, "bytes": size, "samples": len(table), "digest": digest})
        if self.folder:
            _partial(self.plain).replace(self.plain)
        return table.select(SCHEMA.names), tuple(files)


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _restore(file: beton.BetonWriter, done: list[Record]) -> None:
    rows = pa.concat_tables([record.rows for record in done])
    samples = np.zeros(len(rows), beton.SAMPLE)
    samples["mode"] = rows["raw"].to_numpy()
    for ours, theirs in (("width", "width"), ("height", "height"), ("where", "where"), ("label", "label")):
        samples[ours] = rows[theirs].to_numpy()
    pixels = rows["pixels"].to_pylist()
    digests = b"".join(own or jpeg for own, jpeg in zip(pixels, rows["sha256"].to_pylist(), strict=True))
    sizes = rows["stored"].to_numpy().astype(np.uint64)
    file.restore(samples, sizes, np.frombuffer(digests, np.uint8).reshape(-1, 32), *done[-1].beton)
