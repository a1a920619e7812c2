"""The samples of tars, or of a `.beton`, that exist already, as columns of a manifest. Each file is read once."""

import errno
import shutil
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from tempfile import TemporaryFile, gettempdir
from typing import BinaryIO, NamedTuple, TypeVar, cast

import numpy as np
import pyarrow as pa

from ..engine import cores
from ..errors import UserError
from ..formats.beton import RAW, Layout
from ..info import JSON
from ..manifest import uid_of
from ..progress import Bar
from ..sources.classes import classes_of
from ..sources.local import Local
from ..sources.passed import PassedOver
from ..sources.pieces import PIECE, streamed
from ..sources.readers import Ranges
from ..sources.samples import Sample, samples_of
from ..sources.source import key_of
from ..sources.storage import Storage, opening
from ..sources.wanted import Wanted
from ..sources.webdataset import of_samples, tars_of
from ..table import FIELDS, SCHEMA
from .beton_label import label_field, labels_of
from .headers import Described, Header, described

AT_ONCE = 4  # files at a URL that are read together
R = TypeVar("R")


@dataclass(frozen=True)
class Samples:
    """N samples in the order of their files."""

    lines: list[JSON]  # about the files, in the order of `shard`
    classes: tuple[str, ...]
    keys: list[str]
    source: list[str]
    label: np.ndarray  # [N] int32
    bytes: np.ndarray  # [N] int64
    shard: np.ndarray  # [N] int32, -1 = in a .beton
    offset: np.ndarray  # [N] int64, -1 = in a .beton
    beton: np.ndarray  # [N] int64, -1 = in a tar
    headers: list[Header]
    fields: np.ndarray  # [N, 2 F] int64, first byte and size of each of F further members in their tar, -1 = absent
    passed: PassedOver

    def table(self) -> pa.Table:
        """The rows of a manifest, of SCHEMA, and FIELDS if there are any."""
        columns = {
            "uid": list(map(uid_of, self.keys)),
            "key": self.keys,
            "label": self.label,
            "source": self.source,
            "height": [header.height for header in self.headers],
            "width": [header.width for header in self.headers],
            "bytes": self.bytes,
            "sha256": [header.sha256 for header in self.headers],
            "shard": self.shard,
            "offset": self.offset,
            "beton": self.beton,
        }
        if not self.fields.shape[1]:
            return pa.table(columns, schema=SCHEMA)
        columns |= {"field_offset": list(self.fields[:, 0::2]), "field_bytes": list(self.fields[:, 1::2])}
        return pa.table(columns, schema=pa.schema([*SCHEMA, *FIELDS]))


class _Tar(NamedTuple):
    """What is in one tar."""

    samples: list[Sample]  # in the order of their bytes
    found: Described
    passed: PassedOver


def tar_samples(where: str, split: str, workers: int, wanted: Wanted, max_pixels: int) -> Samples:
    """The samples of the tars in the folder `where`; unlabeled or labeled as webdataset reads them."""
    passed = PassedOver()
    files, tars, info = tars_of(where, split, passed)

    def look(number: int, bar: Bar) -> _Tar:
        left = PassedOver()
        with _seekable(files, tars[number]) as file:
            found = samples_of(file, number, files.show(tars[number]), wanted, left)
            own = sorted(found, key=lambda sample: sample.offset)
            file.seek(0)
            spans = np.array([(sample.offset, sample.length) for sample in own], np.int64).reshape(-1, 2)
            return _Tar(own, described(file, tars[number], spans, np.zeros_like(spans), max_pixels, bar), left)

    parts = _several(look, range(len(tars)), workers, files)
    for part in parts:
        passed.join(part.passed)
    every = (sample for part in parts for sample in part.samples)
    source = of_samples(every, where, split, wanted, Ranges(files, tuple(tars)), info, passed)
    places = np.asarray(source.places)
    order = np.lexsort((places[:, 1], places[:, 0]))
    places = places[order]
    paths = [source.paths[row] for row in order.tolist()]
    return Samples(
        lines=[part.found.line for part in parts],
        classes=source.classes,
        keys=[key_of(path) for path in paths],
        source=paths,
        label=source.label[order],
        bytes=places[:, 2],
        shard=places[:, 0].astype(np.int32),
        offset=places[:, 1],
        beton=np.full(len(places), -1),
        headers=[header for part in parts for header in part.found.headers],
        fields=places[:, 3:],
        passed=source.passed,
    )


def beton_samples(
    files: Storage,
    names: Sequence[str],
    workers: int,
    wanted: str,
    max_pixels: int,
    passed: PassedOver | None = None,
    among: Container[bytes] | None = None,
) -> Samples:
    """The samples of one or more .beton files, which have numbers for names; `wanted`: the field of their labels.
    `among`: only images with these sha256 count in the digests of the files."""
    sizes, parts = [files.size(name) for name in names], []
    for number, (name, size) in enumerate(zip(names, sizes, strict=True)):
        with streamed(files, name, size) as file:
            parts.append(Layout.read(file, size, number, files.show(name)))
    layout, passed, first = Layout.joined(parts), passed or PassedOver(), files.show(names[0])
    count = len(layout.where)
    field = label_field(layout, first, wanted)
    for name in (*layout.numbers, *layout.others):
        if name != field:
            passed.add("fields other than image and label", name)
    label = labels_of(layout, first, field)
    sides = np.stack([layout.height, layout.width], 1).astype(np.int64)
    raw = np.where((layout.mode == RAW)[:, None], sides, 0)
    spans = np.stack([layout.where, layout.size], 1).astype(np.int64)

    def look(number: int, bar: Bar) -> Described:
        own = np.flatnonzero(layout.file == number)
        own = own[np.argsort(layout.where[own], kind="stable")]
        with streamed(files, names[number], sizes[number]) as file:
            found = described(file, names[number], spans[own], raw[own], max_pixels, bar, among)
        numbered = zip(own.tolist(), found.headers, strict=True)
        return found._replace(headers=[header for _, header in sorted(numbered, key=lambda pair: pair[0])])

    found = _several(look, range(len(names)), workers, files)
    begin = np.searchsorted(layout.file, layout.file)  # of each sample's file
    stems = [PurePath(name).stem for name in names]
    keys = [f"{stems[file]}/{n:08d}" for file, n in zip(layout.file, np.arange(count) - begin, strict=True)]
    return Samples(
        lines=[part.line for part in found],
        classes=classes_of(label, first),
        keys=keys,
        source=keys,
        label=np.maximum(label, -1).astype(np.int32),
        bytes=spans[:, 1],
        shard=np.full(count, -1, np.int32),
        offset=np.full(count, -1),
        beton=np.arange(count),
        headers=[header for part in found for header in part.headers],
        fields=np.empty((count, 0), np.int64),
        passed=passed,
    )


def _several(look: Callable[[int, Bar], R], numbers: Sequence[int], workers: int, files: Storage) -> list[R]:
    """`look` at the files of these numbers, several at a time; reading and hashing release the interpreter's lock."""
    threads = workers or (cores() if isinstance(files, Local) else AT_ONCE)
    pool = ThreadPoolExecutor(threads)
    try:
        with opening(files.show()), Bar(0, "img", "indexing") as bar:
            return list(pool.map(lambda number: look(number, bar), numbers))
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _seekable(files: Storage, name: str) -> Iterator[BinaryIO]:
    """A tar, open. Which of its members are images is known only at its end, so one at a URL is read into $TMPDIR."""
    if isinstance(files, Local):
        with files.open(name) as file:
            yield file
        return
    if not (size := files.size(name)):
        raise UserError(f"{files.show(name)} is empty, or its server does not tell its size: fetch the tars first")
    with TemporaryFile() as held:
        with streamed(files, name, size) as file:
            try:
                shutil.copyfileobj(file, held, PIECE)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                raise UserError(
                    f"{gettempdir()} has no room for {files.show(name)}: let TMPDIR name a larger disk"
                ) from error
        held.seek(0)
        yield cast(BinaryIO, held)
