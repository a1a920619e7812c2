"""Verifies a set: compares every file and every sample with the digests that the build recorded."""

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import simplejpeg

from ..columns import FILE, differs, fault
from ..encoding.headers import fault_of
from ..engine import THREADS, cores
from ..errors import UserError, plural
from ..files import PAGE, digest_of
from ..formats.beton import NoBeton
from ..formats.digest import Digest
from ..info import class_counts, read_info
from ..manifest import Manifest, file_of
from ..names import open_file, safe
from ..progress import Bar
from ..sources.local import Local
from ..sources.pieces import streamed
from ..sources.storage import Storage
from ..table import TABLE, Table
from ..unpack import MAX_PIXELS
from .damage import Damage, reason
from .indices import damaged_indices
from .spans import Spans, beton_spans_in, tar_spans
from .static import added

TOGETHER = 1000  # files of a folder that one task reads
STORED = "no repair mends what was stored so, build a set without these images (build_shards.py --on-error skip)"


def sound(root: Path, max_pixels: int = MAX_PIXELS) -> Manifest:
    """The set in folder `root`; by its table, which is slower, if its columns say that they are not those of the table.
    `verify` then tells why."""
    info = read_info(root)
    return Manifest.open(root, by_table=bool(fault(root, info.samples, info.manifest)), max_pixels=max_pixels)


def verify(
    manifest: Manifest, workers: int = 0, files: Storage | None = None, cached: Mapping[str, str] | None = None
) -> list[Damage]:
    """All files that are damaged or absent, in the order of `dataset.json`. `files`: where they lie, the folder of the
    set by default. `cached`: only these are there, under other names.

    Reads everything once and shows samples per second; files at a URL in pieces, several at a time. UserError when the
    manifest itself is damaged.
    """
    found: list[Damage] = []
    root, info = manifest.root, manifest.info
    if info.manifest and digest_of(root / TABLE) != info.manifest:
        raise UserError(f"{root / TABLE} is not as it was built: build the set again, the same command does")
    if (root / FILE).exists() and (cause := differs(root, len(manifest), info.manifest)):
        found.append(Damage(FILE, cause))
        manifest = Manifest.open(root, by_table=True, max_pixels=manifest.max_pixels)
    _check_numbers(manifest)
    table = Table(root / TABLE)
    _check_names(table, root)
    files = files or Local(root)
    names = {line["file"]: line["file"] for line in info.files} if cached is None else cached
    here = isinstance(files, Local)
    folder = cached is None and here and "folder" in info.formats
    total = sum(line["samples"] for line in info.files if line["file"] in names) + len(manifest) * folder
    threads = workers or (cores() if here else THREADS)
    with ThreadPoolExecutor(threads) as pool, Bar(total, "sample", "verifying") as bar:
        tasks = [
            partial(_archive, manifest, number, files, names, bar)
            for number, line in enumerate(info.files)
            if line["file"] in names
        ]
        if folder:
            parts = (range(at, min(at + TOGETHER, len(manifest))) for at in range(0, len(manifest), TOGETHER))
            tasks += [partial(_folder, manifest, table, part, bar) for part in parts]
        for damages in pool.map(lambda task: list(task()), tasks):  # hashing and reading release the interpreter's lock
            found += damages
        if cached is None:
            found += damaged_indices(manifest, files, pool, 2 * threads)
    if cached is None and here and info.static:
        found += added(manifest)
    return found


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
            f"{manifest.root / PAGE} counts {plural(manifest.info.counts[wrong], 'sample')} of class "
            f"{manifest.info.classes[wrong]}, {TABLE} has {counts[wrong]:,}: fetch or build the set again"
        )


def _archive(manifest: Manifest, number: int, files: Storage, names: Mapping[str, str], bar: Bar) -> Iterator[Damage]:
    """Check a tar or .beton, read once from end to end."""
    line = manifest.info.files[number]
    try:
        tar, name = line["file"].endswith(".tar"), safe(names[line["file"]], files.show(), "set")
        spans = tar_spans(manifest, number) if tar else beton_spans_in(manifest, files, names, line["file"])
        with streamed(files, name, line["bytes"]) as file:
            digest, broken, faults = _read_through(file, spans, manifest, bar)
    except (OSError, ValueError) as error:
        if isinstance(error, UserError) and not isinstance(error, NoBeton):
            raise  # nothing was read: of a server without ranges, or one that refuses requests
        yield Damage(line["file"], reason(error))
        return
    if broken or digest != line["digest"]:
        named = "1 sample differs" if len(broken) == 1 else f"{len(broken)} samples differ"
        cause = named if broken else "it differs, but no JPEG in it does"
        yield Damage(line["file"], cause, tuple(broken))
    if faults:
        fault, rows = next(iter(faults.values())), tuple(faults)
        cause = f"stored so that loaders cannot read them: {plural(len(rows), 'image')}, {fault}"
        yield Damage(line["file"], cause, rows, STORED)


def _read_through(file: IO[bytes], spans: Spans, manifest: Manifest, bar: Bar) -> tuple[str, list[int], dict[int, str]]:
    """The digest of the file, the rows whose bytes differ, and {row: fault} of JPEGs that were stored with a fault."""
    seen = deque[bytes](maxlen=1)
    digest, broken, faults = Digest(file, lambda image, _: seen.append(image)), [], {}
    places = ((int(start), int(length)) for start, length in zip(spans.start, spans.length, strict=True))
    for row, whole, sha256 in zip(spans.rows, spans.whole, digest.images(places), strict=True):
        if whole and sha256 != manifest.sha256[row].tobytes():
            broken.append(int(row))
        elif whole and (fault := _fault(seen[-1], manifest.hw[row])):
            faults[int(row)] = fault
        bar.update()
    return digest.end(), broken, faults


def _folder(manifest: Manifest, names: Table, rows: range, bar: Bar) -> Iterator[Damage]:
    for row, key in zip(rows, names.values("key", np.array(rows)), strict=True):
        path = Path(file_of(manifest.root, key, manifest.info.static))
        bar.update()
        remedy = ""
        try:
            with open_file(path) as file:
                data = file.read()
            cause = "its bytes differ"
            if hashlib.sha256(data).digest() == manifest.sha256[row].tobytes():
                cause, remedy = _fault(data, manifest.hw[row]), STORED
        except OSError as error:
            cause = reason(error)
        if cause:
            yield Damage(str(path.relative_to(manifest.root)), cause, (row,), remedy)


def _fault(jpeg: bytes, hw: np.ndarray) -> str:
    """Why loaders refuse a JPEG whose bytes are those of the manifest, which says that it is `hw` px; or ""."""
    if fault := fault_of(jpeg):
        return fault
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)
    except ValueError as error:
        return str(error)
    return "" if [height, width] == hw.tolist() else f"it has {height} x {width} px, the manifest says {hw.tolist()}"
