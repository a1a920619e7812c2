"""Verifies a set: compares every file and every sample with the digests that the build recorded."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from ..encoding.headers import fault_of
from ..engine import cores
from ..errors import UserError
from ..files import digest_of
from ..formats.beton import RAW, Layout
from ..formats.digest import Digest
from ..formats.tar import dali_index, index_path, wids_index
from ..manifest import TABLE, Manifest


class Damage(NamedTuple):
    """A file that differs from what was built."""

    file: str  # path in the set's folder
    cause: str
    rows: tuple[int, ...]  # samples that are damaged, as far as that is known
    stored: bool = False  # the samples were stored so: their bytes are those of the manifest, no repair changes them


class Span(NamedTuple):
    """Where a sample is in a file, in bytes."""

    row: int
    start: int
    length: int
    whole: bool  # its bytes are the JPEG whose digest the manifest has, not pixels


def verify(manifest: Manifest, workers: int = 0) -> list[Damage]:
    """All files that are damaged or absent, in the order of `dataset.json`.

    Reads everything once and shows samples per second. UserError when the manifest itself is damaged.
    """
    digests = manifest.strings("sha256")
    found: list[Damage] = []
    if manifest.info.manifest and digest_of(manifest.root / TABLE) != manifest.info.manifest:
        raise UserError(f"{manifest.root / TABLE} is not as it was built: build the set again, the same command does")
    total = len(manifest) * len(manifest.info.formats)
    with ThreadPoolExecutor(workers or cores()) as pool, tqdm(total=total, unit="sample", disable=None) as bar:
        tasks = [partial(_archive, manifest, number, digests, bar) for number in range(len(manifest.info.files))]
        if "folder" in manifest.info.formats:
            rows = np.array_split(np.arange(len(manifest)), 1 + len(manifest) // 1000)
            tasks += [partial(_folder, manifest, part, digests, bar) for part in rows]
        for damages in pool.map(lambda task: list(task()), tasks):  # hashing and reading release the interpreter's lock
            found += damages
    return found + list(_indices(manifest))


def _archive(manifest: Manifest, number: int, digests: list[bytes], bar: "tqdm[Any]") -> Iterator[Damage]:
    """Check a tar or .beton, read once from end to end."""
    line = manifest.info.files[number]
    path = manifest.root / line["file"]
    try:
        spans = list(tar_spans(manifest, number) if path.suffix == ".tar" else beton_spans(manifest, path))
        with path.open("rb") as file:
            digest, broken, faults = _read_through(file, spans, digests, bar)
    except (OSError, UserError) as error:
        yield Damage(line["file"], str(error), ())
        return
    if broken or digest != line["digest"]:
        cause = f"{len(broken)} samples differ" if broken else "it differs, but no JPEG in it does"
        yield Damage(line["file"], cause, tuple(broken))
    if faults:
        fault, rows = next(iter(faults.values())), tuple(faults)
        yield Damage(
            line["file"], f"{len(rows)} images were stored so that loaders cannot read them, {fault}", rows, True
        )


def _read_through(
    file: IO[bytes], spans: list[Span], digests: list[bytes], bar: "tqdm[Any]"
) -> tuple[str, list[int], dict[int, str]]:
    """The digest of the file, the rows whose bytes differ, and {row: fault} of JPEGs that were stored with a fault."""
    seen: list[str] = []
    digest, broken, faults = Digest(file, lambda image: seen.append(fault_of(image))), [], {}
    for span, sha256 in zip(spans, digest.images((s.start, s.length) for s in spans), strict=True):
        if span.whole and sha256 != digests[span.row]:
            broken.append(span.row)
        elif span.whole and seen[-1]:
            faults[span.row] = seen[-1]
        bar.update()
    return digest.end(), broken, faults


def tar_spans(manifest: Manifest, number: int) -> Iterator[Span]:
    """The samples of tar `number`, in file order."""
    rows = np.flatnonzero(manifest.shard == number)
    for row in rows[np.argsort(manifest.offset[rows])].tolist():
        yield Span(row, int(manifest.offset[row]), int(manifest.bytes[row]), True)


def beton_spans(manifest: Manifest, path: Path) -> Iterator[Span]:
    """The samples of a .beton, in file order."""
    paths = manifest.betons()
    layout = Layout.of(*paths)
    row_of = dict(zip(manifest.beton.tolist(), range(len(manifest)), strict=True))
    own = np.flatnonzero(layout.file == paths.index(path))
    for at in own[np.argsort(layout.where[own])].tolist():
        if at in row_of:
            yield Span(row_of[at], int(layout.where[at]), int(layout.size[at]), layout.mode[at] != RAW)


def _folder(manifest: Manifest, rows: np.ndarray, digests: list[bytes], bar: "tqdm[Any]") -> Iterator[Damage]:
    for row in rows.tolist():
        path = manifest.path(row)
        bar.update()
        stored = False
        try:
            data = path.read_bytes()
            stored = hashlib.sha256(data).digest() == digests[row]
            cause = fault_of(data) if stored else "its bytes differ"
        except OSError as error:
            cause = str(error)
        if cause:
            yield Damage(str(path.relative_to(manifest.root)), cause, (row,), stored)


def _indices(manifest: Manifest) -> Iterator[Damage]:
    """Check the index files of the tars, whose texts follow from the manifest."""
    for path, text in index_texts(manifest):
        if not path.exists() or path.read_bytes() != text.encode():
            yield Damage(path.name, "differs from the manifest" if path.exists() else "is absent", ())


def index_texts(manifest: Manifest) -> Iterator[tuple[Path, str]]:
    """Each index file of the tars, and its text; none for indexed sets, which have no such files of ours."""
    tars = manifest.tars()
    if not tars or manifest.info.kind == "indexed":
        return
    m = manifest
    more = np.array([m.field(name)[1] for name in m.info.fields], np.int64).reshape(-1, len(m)).T
    for number, tar in enumerate(tars):
        rows = [span.row for span in tar_spans(manifest, number)]
        columns = (c[rows].tolist() for c in (m.label, m.height, m.width, m.offset, m.bytes, more))
        yield index_path(tar), dali_index(zip([m.keys[row] for row in rows], *columns, strict=True), m.info.fields)
    lines = [line for line in m.info.files if line["file"].endswith(".tar")]
    yield m.root / f"{m.info.name}.wids.json", wids_index(m.info.name, lines)
