"""Whole copies of a set's images, from its other formats or from its source."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np

from ..encoding.encode import Encoding, encode
from ..encoding.headers import Damaged
from ..errors import UserError, plural
from ..formats.beton import Layout
from ..manifest import Manifest
from ..names import open_file
from ..sources.readers import fields_at
from ..sources.source import Source


class Copies:
    """Finds each sample's JPEG wherever it is whole."""

    def __init__(self, manifest: Manifest, open_source: Callable[[], Source], scratch: Path) -> None:
        self.manifest, self.open_source, self.scratch = manifest, open_source, scratch
        self.layout = None
        if "ffcv" in manifest.info.formats:
            with suppress(UserError):  # then the .beton cannot give copies
                self.layout = Layout.of(manifest.beton_path())
        self.encoded: dict[int, bytes] = {}  # row -> JPEG encoded from the source, for the file in work

    def fetch(self, rows: Iterable[int], advance: Callable[[int], object] = bool) -> None:
        """Prepare `jpeg` for these rows: encode from the source what no format holds. `advance` counts those ready.

        UserError when the source does not give the bytes that were built.
        """
        self.encoded, lost = {}, []
        for row in rows:
            if self._stored(row) is None:
                lost.append(row)
            else:
                advance(1)
        if not lost:
            return
        source, names, at = self.source, self.manifest.strings("source", lost), self._positions(lost)
        if source.stage:
            self.scratch.mkdir(exist_ok=True)
            source = source.stage(source, self.scratch, at)
        encoding = built_encoding(self.manifest)
        for row, name, place in zip(lost, names, (source.places[n] for n in at.tolist()), strict=True):
            try:
                jpeg = encode(source.reader.read(place), encoding).jpeg
            except (Damaged, OSError, ValueError) as error:
                raise UserError(f"{name} in {source.name} is damaged ({error}): mend it first") from error
            if hashlib.sha256(jpeg).digest() != self.digest(row):
                raise UserError(
                    f"{name} in {source.name} no longer gives the bytes that were built (another image, or "
                    "another version of simplejpeg or pillow): build the set again"
                )
            self.encoded[row] = jpeg
            advance(1)

    @cached_property
    def source(self) -> Source:
        return self.open_source()

    def digest(self, row: int) -> bytes:
        """sha256 of the JPEG of a row."""
        return self.manifest.sha256[row].tobytes()

    def _positions(self, rows: list[int]) -> np.ndarray:
        """[n] positions of the rows' images in the source; UserError for one that it lacks."""
        position, names = {path: at for at, path in enumerate(self.source.paths)}, self.manifest.strings("source", rows)
        if absent := [name for name in names if name not in position]:
            raise UserError(
                f"{self.source.name} lacks {plural(len(absent), 'image')} of the set, the first {absent[0]}: "
                "is it the right source?"
            )
        return np.array([position[name] for name in names], np.int64)

    def fields(self, rows: list[int]) -> list[list[bytes | None]]:
        """The further members of each row, which only the source has a copy of."""
        if not self.manifest.info.fields:
            return [[] for _ in rows]
        places = np.asarray(self.source.places)[self._positions(rows)]
        return [fields_at(self.source.reader, place) for place in places]

    def jpeg(self, row: int) -> bytes:
        """The JPEG of a row that was fetched."""
        data = self.encoded.get(row) or self._stored(row)
        assert data is not None
        return data

    def _stored(self, row: int) -> bytes | None:
        for path, offset, length in self._places(row):
            with suppress(OSError), open_file(path) as file:
                data = os.pread(file.fileno(), length, offset)
                if hashlib.sha256(data).digest() == self.digest(row):
                    return data
        return None

    def _places(self, row: int) -> Iterator[tuple[Path, int, int]]:
        """(file, first byte, length) of a sample in each format."""
        m, size = self.manifest, int(self.manifest.bytes[row])
        if m.shard[row] >= 0:
            yield m.tars()[m.shard[row]], int(m.offset[row]), size
        if self.layout is not None:
            yield m.beton_path(), int(self.layout.where[m.beton[row]]), size
        if "folder" in m.info.formats:
            yield m.path(row), 0, size


def built_encoding(manifest: Manifest) -> Encoding:
    """How a set's images were encoded."""
    page = manifest.info.encoding
    return Encoding(
        keep=manifest.info.kind == "kept",
        max_side=page.get("max_side", 0),
        short_side=page.get("short_side", 0),
        quality=page["quality"],
        check=page.get("check", "decode"),
        subsampling=page.get("subsampling", "420"),
    )
