"""Make damaged files of a set again, byte by byte as they were built, and nothing else."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import simplejpeg

from ..building.blocks import is_raw
from ..encoding.encode import Damaged, Encoding, encode
from ..errors import UserError
from ..files import atomic
from ..formats import beton
from ..formats.tar import TarWriter, around
from ..manifest import Manifest
from ..sources.source import Source
from .verify import Damage, index_texts, tar_spans


def repair(manifest: Manifest, damages: Iterable[Damage], source: Callable[[], Source]) -> list[str]:
    """The names of the files made again. An image comes from any format that still has it whole, else from `source`,
    which is opened only then. UserError when its bytes cannot be had any more; then that file stays as it is."""
    if manifest.info.encoding.get("indexed"):
        raise UserError(f"{manifest.root} indexes files that were made elsewhere: fetch those again")
    made: list[str] = []
    with TemporaryDirectory(dir=manifest.root, prefix="repair-") as scratch:
        copies = Copies(manifest, source, Path(scratch))
        texts = dict(index_texts(manifest))
        for damage in damages:
            path = manifest.root / damage.file
            if path in texts:
                with atomic(path, "w") as file:
                    file.write(texts[path])
            elif path.suffix == ".tar":
                _tar(manifest, path, copies)
            elif path.suffix == ".beton":
                _beton(manifest, path, copies)
            else:
                copies.want(damage.rows)
                path.parent.mkdir(parents=True, exist_ok=True)
                with atomic(path) as file:
                    file.write(copies.jpeg(damage.rows[0]))
            made.append(damage.file)
    return made


class Copies:
    """A sample's JPEG from wherever it is whole."""

    def __init__(self, manifest: Manifest, open_source: Callable[[], Source], scratch: Path) -> None:
        self.manifest, self.open_source, self.scratch = manifest, open_source, scratch
        self.digests = manifest.strings("sha256")
        self.layout = None
        if "ffcv" in manifest.info.formats:
            with suppress(UserError):  # then its samples are not to be found
                self.layout = beton.Layout.of(manifest.beton_path())
        self.again: dict[int, bytes] = {}  # encoded anew from the source, for the file in hand

    def want(self, rows: Iterable[int]) -> None:
        """Have these at hand; what no format holds is encoded from the source."""
        self.again = {}
        lost = [row for row in rows if self._stored(row) is None]
        if not lost:
            return
        source = self.open_source()
        names = self.manifest.strings("source")
        place = {path: at for at, path in enumerate(source.paths)}
        if absent := [names[row] for row in lost if names[row] not in place]:
            raise UserError(
                f"{source.name} lacks {len(absent)} images of the set, the first {absent[0]}: is it the one?"
            )
        at = np.array([place[names[row]] for row in lost], np.int64)
        if source.stage:
            source = source.stage(source, self.scratch, at)
        how = encoding_of(self.manifest)
        for row, here in zip(lost, at.tolist(), strict=True):
            try:
                jpeg = encode(source.reader.read(source.places[here]), how).jpeg
            except (Damaged, OSError, ValueError) as error:
                raise UserError(f"{names[row]} in {source.name} is damaged ({error}): mend it first") from error
            if hashlib.sha256(jpeg).digest() != self.digests[row]:
                raise UserError(
                    f"{names[row]} in {source.name} no longer gives the bytes that were built (another image, or "
                    "another version of simplejpeg or pillow): build the set again"
                )
            self.again[row] = jpeg

    def jpeg(self, row: int) -> bytes:
        """An image that was wanted."""
        data = self.again.get(row) or self._stored(row)
        assert data is not None
        return data

    def _stored(self, row: int) -> bytes | None:
        for path, offset, length in self._places(row):
            with suppress(OSError), path.open("rb") as file:
                data = os.pread(file.fileno(), length, offset)
                if hashlib.sha256(data).digest() == self.digests[row]:
                    return data
        return None

    def _places(self, row: int) -> Iterator[tuple[Path, int, int]]:
        m, size = self.manifest, int(self.manifest.bytes[row])
        if m.shard[row] >= 0:
            yield m.tars()[m.shard[row]], int(m.offset[row]), size
        if self.layout is not None:
            yield m.beton_path(), int(self.layout.where[m.beton[row]]), size
        if "folder" in m.info.formats:
            yield m.path(row), 0, size


def encoding_of(manifest: Manifest) -> Encoding:
    """How the set's images were encoded."""
    page = manifest.info.encoding
    return Encoding(
        keep=page.get("keep", False),
        max_side=page.get("max_side", 0),
        short_side=page.get("short_side", 0),
        quality=page["quality"],
        check=page.get("check", "decode"),
    )


def _tar(manifest: Manifest, path: Path, copies: Copies) -> None:
    number = manifest.tars().index(path)
    rows = [span.row for span in tar_spans(manifest, number)]
    copies.want(rows)
    with atomic(path) as file:
        tar = TarWriter(file)
        for row in rows:
            jpeg, shape = copies.jpeg(row), (int(manifest.height[row]), int(manifest.width[row]))
            before, behind = around(manifest.keys[row], int(manifest.label[row]), len(jpeg), *shape)
            tar.write(before + jpeg + behind, before + copies.digests[row] + behind)
        tar.end()
        _same(manifest, path, tar.digest.hexdigest())


def _beton(manifest: Manifest, path: Path, copies: Copies) -> None:
    page = manifest.info.encoding
    raw = is_raw(manifest.uid, page.get("raw_fraction", 0), page.get("seed", 0))
    rows = np.argsort(manifest.beton).tolist()
    copies.want(rows)
    with atomic(path) as file:
        made = beton.BetonWriter(file, len(manifest) + len(manifest.info.report["skipped"]))
        for row in rows:
            data, mode, sha256 = copies.jpeg(row), beton.JPEG, copies.digests[row]
            if raw[row]:
                data, mode = simplejpeg.decode_jpeg(data).tobytes(), beton.RAW
                sha256 = hashlib.sha256(data).digest()
            shape = int(manifest.height[row]), int(manifest.width[row])
            made.add(data, sha256, *shape, int(manifest.label[row]), mode)
        _same(manifest, path, made.end())


def _same(manifest: Manifest, path: Path, digest: str) -> None:
    """A file made again is the file that was built, or it does not take its place."""
    line = next(line for line in manifest.info.files if line["file"] == path.name)
    if digest != line["digest"]:
        raise UserError(f"{path} cannot be made again byte by byte: build the set again, the same command does")
