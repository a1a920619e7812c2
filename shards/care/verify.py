"""Verifies a set: compares every file and every sample with the digests that the build recorded."""

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from ..columns import FILE, differs, fault
from ..encoding.headers import fault_of
from ..engine import cores
from ..errors import UserError
from ..files import PAGE, digest_of
from ..formats.beton import RAW, Layout
from ..formats.digest import Digest
from ..formats.tar import dali_index, index_path, wids_index
from ..info import class_counts, read_info
from ..manifest import Manifest, file_of
from ..names import open_file, safe, within
from ..table import TABLE, Table
from ..unpack import MAX_PIXELS

TOGETHER = 1000  # files of a folder that one task reads


class Damage(NamedTuple):
    """A file that differs from what was built."""

    file: str  # path in the set's folder
    cause: str
    rows: tuple[int, ...]  # samples that are damaged, as far as that is known
    stored: bool = False  # the samples were stored so: their bytes are those of the manifest, no repair changes them


class Spans(NamedTuple):
    """Where n samples are in a file, in file order."""

    rows: np.ndarray  # [n]
    start: np.ndarray  # [n] bytes
    length: np.ndarray  # [n] bytes
    whole: np.ndarray  # [n] bool: the bytes are the JPEG whose digest the manifest has, not pixels


def sound(root: Path, max_pixels: int = MAX_PIXELS) -> Manifest:
    """The set in folder `root`; by its table, which is slower, if its columns say that they are not those of the table.
    `verify` then tells why."""
    info = read_info(root)
    return Manifest.open(root, by_table=bool(fault(root, info.samples, info.manifest)), max_pixels=max_pixels)


def verify(manifest: Manifest, workers: int = 0) -> list[Damage]:
    """All files that are damaged or absent, in the order of `dataset.json`.

    Reads everything once and shows samples per second. UserError when the manifest itself is damaged.
    """
    found: list[Damage] = []
    root, info = manifest.root, manifest.info
    if info.manifest and digest_of(root / TABLE) != info.manifest:
        raise UserError(f"{root / TABLE} is not as it was built: build the set again, the same command does")
    if (root / FILE).exists() and (cause := differs(root, len(manifest), info.manifest)):
        found.append(Damage(FILE, cause, ()))
        manifest = Manifest.open(root, by_table=True, max_pixels=manifest.max_pixels)
    _check_numbers(manifest)
    total, names = len(manifest) * len(info.formats), Table(root / TABLE)
    _check_names(names, root)
    with ThreadPoolExecutor(workers or cores()) as pool, tqdm(total=total, unit="sample", disable=None) as bar:
        tasks = [partial(_archive, manifest, number, bar) for number in range(len(info.files))]
        if "folder" in info.formats:
            parts = (range(at, min(at + TOGETHER, len(manifest))) for at in range(0, len(manifest), TOGETHER))
            tasks += [partial(_folder, manifest, names, part, bar) for part in parts]
        for damages in pool.map(lambda task: list(task()), tasks):  # hashing and reading release the interpreter's lock
            found += damages
    return found + list(_indices(manifest))


def _check_names(table: Table, root: Path) -> None:
    """UserError for a key or a source that leads out of the set, whether or not a format makes a path of it."""
    for part in table.parts("key", "source"):
        for column in part.columns:
            for name in column.to_pylist():
                safe(name, root, "set")


def _check_numbers(manifest: Manifest) -> None:
    """UserError for a row that no loader would read, or counts that are not those of the labels."""
    manifest.check_all()
    counts = class_counts(manifest.label, manifest.info.classes)
    if counts != manifest.info.counts:
        wrong = next(c for c, pair in enumerate(zip(manifest.info.counts, counts, strict=True)) if len({*pair}) > 1)
        raise UserError(
            f"{manifest.root / PAGE} counts {manifest.info.counts[wrong]:,} samples of class "
            f"{manifest.info.classes[wrong]}, {TABLE} has {counts[wrong]:,}: fetch or build the set again"
        )


def _archive(manifest: Manifest, number: int, bar: "tqdm[Any]") -> Iterator[Damage]:
    """Check a tar or .beton, read once from end to end."""
    line = manifest.info.files[number]
    path = within(manifest.root, line["file"])
    try:
        spans = tar_spans(manifest, number) if path.suffix == ".tar" else beton_spans(manifest, path)
        with open_file(path) as file:
            digest, broken, faults = _read_through(file, spans, manifest.sha256, bar)
    except (OSError, ValueError) as error:
        yield Damage(line["file"], str(error), ())
        return
    if broken or digest != line["digest"]:
        cause = f"{len(broken)} samples differ" if broken else "it differs, but no JPEG in it does"
        yield Damage(line["file"], cause, tuple(broken))
    if faults:
        reason, rows = next(iter(faults.values())), tuple(faults)
        yield Damage(
            line["file"], f"{len(rows)} images were stored so that loaders cannot read them, {reason}", rows, True
        )


def _read_through(
    file: IO[bytes], spans: Spans, digests: np.ndarray, bar: "tqdm[Any]"
) -> tuple[str, list[int], dict[int, str]]:
    """The digest of the file, the rows whose bytes differ, and {row: fault} of JPEGs that were stored with a fault."""
    seen = deque[str](maxlen=1)
    digest, broken, faults = Digest(file, lambda image: seen.append(fault_of(image))), [], {}
    places = ((int(start), int(length)) for start, length in zip(spans.start, spans.length, strict=True))
    for row, whole, sha256 in zip(spans.rows, spans.whole, digest.images(places), strict=True):
        if whole and sha256 != digests[row].tobytes():
            broken.append(int(row))
        elif whole and seen[-1]:
            faults[int(row)] = seen[-1]
        bar.update()
    return digest.end(), broken, faults


def tar_spans(manifest: Manifest, number: int) -> Spans:
    """The samples of tar `number`."""
    rows = np.flatnonzero(manifest.shard == number)
    rows = rows[np.argsort(manifest.offset[rows])]
    return Spans(rows, manifest.offset[rows], manifest.bytes[rows], np.ones(len(rows), bool))


def beton_spans(manifest: Manifest, path: Path) -> Spans:
    """The samples of a .beton that the manifest has."""
    paths = manifest.betons()
    layout = Layout.of(*paths)
    row_of, held = np.full(len(layout.where), -1), np.flatnonzero(manifest.beton >= 0)
    if len(held) and (last := int(manifest.beton.max())) >= len(row_of):
        raise ValueError(f"it holds {len(row_of):,} samples, the manifest names number {last:,}")
    row_of[manifest.beton[held]] = held
    if (row_of >= 0).sum() < len(held):
        raise ValueError("two samples of the manifest have one number in it")
    own = np.flatnonzero((layout.file == paths.index(path)) & (row_of >= 0))
    own = own[np.argsort(layout.where[own])]
    return Spans(row_of[own], layout.where[own].astype(np.int64), layout.size[own], layout.mode[own] != RAW)


def _folder(manifest: Manifest, names: Table, rows: range, bar: "tqdm[Any]") -> Iterator[Damage]:
    for row, key in zip(rows, names.values("key", np.array(rows)), strict=True):
        path = Path(file_of(manifest.root, key))
        bar.update()
        stored = False
        try:
            with open_file(path) as file:
                data = file.read()
            stored = hashlib.sha256(data).digest() == manifest.sha256[row].tobytes()
            cause = fault_of(data) if stored else "its bytes differ"
        except OSError as error:
            cause = str(error)
        if cause:
            yield Damage(str(path.relative_to(manifest.root)), cause, (row,), stored)


def _indices(manifest: Manifest) -> Iterator[Damage]:
    """Check the index files of the tars, whose texts follow from the manifest."""
    for path, text in index_texts(manifest):
        try:
            with open_file(path) as file:
                cause = "" if file.read() == text.encode() else "differs from the manifest"
        except OSError as error:
            cause = "is absent" if isinstance(error, FileNotFoundError) else str(error)
        if cause:
            yield Damage(str(path.relative_to(manifest.root)), cause, ())


def index_texts(manifest: Manifest) -> Iterator[tuple[Path, str]]:
    """Each index file of the tars, and its text; none for indexed sets, which have no such files of ours."""
    tars = manifest.tars()
    if not tars or manifest.info.kind == "indexed":
        return
    m = manifest
    more = np.array([m.field(name)[1] for name in m.info.fields], np.int64).reshape(-1, len(m)).T
    names = Table(m.root / TABLE)
    for number, tar in enumerate(tars):
        rows = tar_spans(manifest, number).rows
        columns = (c[rows].tolist() for c in (m.label, m.height, m.width, m.offset, m.bytes, more))
        yield index_path(tar), dali_index(zip(names.values("key", rows), *columns, strict=True), m.info.fields)
    lines = [line for line in m.info.files if line["file"].endswith(".tar")]
    yield m.root / f"{m.info.name}.wids.json", wids_index(m.info.name, lines)
