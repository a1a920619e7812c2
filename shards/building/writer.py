"""Writes the files of a set, one unit at a time, the same bytes in every format; resumes after any finished unit."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..files import atomic, partial_path, place, sync
from ..formats import beton
from ..formats.folder import FolderWriter
from ..formats.tar import TarWriter, index_path, wids_index
from ..info import JSON
from ..locks import LOCK
from ..names import within
from ..table import FIELDS, SCHEMA
from .folder import BUILDING, clear
from .records import ROWS, Record, write
from .unit import UnitWriter


class SetWriter:
    """Writes units of at most `capacity` samples in all, after those in `records`, which an interrupted build wrote.

    `fields` are the further members of samples in tars; `stack` closes the files.
    """

    def __init__(
        self,
        out: Path,
        name: str,
        formats: tuple[str, ...],
        capacity: int,
        records: list[Record],
        fields: tuple[str, ...],
        stack: ExitStack,
    ) -> None:
        self.out, self.name, self.formats, self.records, self.fields = out, name, formats, records, fields
        self.beton_path, self.folder_path = out / f"{name}.beton", out / "folder"
        self._clean()
        self.beton = self.folder = None
        if "ffcv" in formats:
            file = stack.enter_context(partial_path(self.beton_path).open("r+b" if records else "w+b"))
            self.beton = beton.BetonWriter(file, capacity)
            if records:
                _restore(self.beton, records)
        if "folder" in formats:
            self.folder = FolderWriter(partial_path(self.folder_path))

    def _clean(self) -> None:
        """Delete what no record describes, and undo the last renames of a build that was killed in `finish`."""
        partials = set()
        for path in (self.beton_path, self.folder_path):
            partial = partial_path(path)
            if path.exists() and not partial.exists():
                path.rename(partial)
            partials.add(partial)
        tars = [within(self.out, record.tar["file"]) for record in self.records if record.tar]
        clear(
            self.out,
            {self.out / BUILDING, self.out / LOCK, *tars, *map(index_path, tars), *(partials if self.records else ())},
        )

    @contextmanager
    def unit(self, digest: str) -> Iterator[UnitWriter]:
        """Write one unit, whose blocks are added inside; its record is written when the block ends without error."""
        number = sum(record.tar is not None for record in self.records)
        path = self.out / f"{self.name}-{number:06d}.tar"
        with ExitStack() as stack:
            tar = None
            if "webdataset" in self.formats:
                tar = TarWriter(stack.enter_context(partial_path(path).open("wb")))
            unit = UnitWriter(number, tar, self.beton, self.folder, self.fields)
            yield unit
            line = unit.end_tar(path)
        if self.folder:
            self.folder.sync()
        if self.beton:
            self.beton.sync()
        sync(self.out)  # the names of the partial files, which the record relies on
        record = write(
            self.out / BUILDING,
            len(self.records),
            pa.table(unit.rows, schema=ROWS),
            digest=digest,
            tar=line,
            beton=(self.beton.page, self.beton.position) if self.beton else (0, 0),
            kinds=dict(unit.kinds),
            suspect=tuple(unit.suspect),
            skipped=tuple(unit.skipped),
        )
        self.records.append(record)

    def finish(self) -> tuple[Iterator[pa.Table], tuple[JSON, ...]]:
        """Give every file its final name; the manifest's rows, and what `dataset.json` tells about each file."""
        files = [record.tar for record in self.records if record.tar]
        if files:
            with atomic(self.out / f"{self.name}.wids.json", "w") as file:
                file.write(wids_index(self.name, files))
        if self.beton:
            digest, samples = self.beton.end(), self.beton.samples
            self.beton.file.flush()
            place(partial_path(self.beton_path), self.beton_path)
            size = self.beton_path.stat().st_size
            files.append({"file": self.beton_path.name, "bytes": size, "samples": samples, "digest": digest})
        if self.folder:
            place(partial_path(self.folder_path), self.folder_path)
        names = (*SCHEMA.names, *(FIELDS.names if self.fields else ()))
        return (record.rows(*names) for record in self.records), tuple(files)


def _restore(writer: beton.BetonWriter, records: list[Record]) -> None:
    """Bring a .beton writer to the state after the last of `records`."""
    for record in records:
        rows = record.rows("raw", "width", "height", "where", "label", "stored", "pixels", "sha256")
        samples = np.zeros(len(rows), beton.SAMPLE)
        samples["mode"] = rows["raw"].to_numpy()
        for name in ("width", "height", "where", "label"):
            samples[name] = rows[name].to_numpy()
        own = zip(rows["pixels"].to_pylist(), rows["sha256"].to_pylist(), strict=True)
        digests = np.frombuffer(b"".join(pixels or jpeg for pixels, jpeg in own), np.uint8).reshape(-1, 32)
        writer.restore(samples, rows["stored"].to_numpy().astype(np.uint64), digests, *record.beton)
    writer.file.truncate(writer.position)  # bytes after the last sample
