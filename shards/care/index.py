"""Describes tars and a `.beton` that exist already by a manifest; the files stay as they are, in a folder or at a URL.

Loaders then read the images as they read a set of our own. Only images that loaders cannot decode alike are refused:
anything but JPEGs of one or three components. EXIF orientation is not applied, because no image is written.
"""

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from ..building.object_store import Store
from ..building.target import target
from ..errors import UserError, plural
from ..files import PAGE, make_folder
from ..info import JSON, DatasetInfo
from ..manifest import Manifest, write
from ..sources.arrange import name_of
from ..sources.local import Local
from ..sources.packed import COMPRESSED
from ..sources.passed import PassedOver
from ..sources.split import archives
from ..sources.storage import Storage, opening, storage
from ..sources.wanted import ANY, NONE, Wanted
from ..table import SCHEMA
from ..unpack import MAX_PIXELS
from .samples import Samples, beton_samples, tar_samples

TRIAL = "index.partial"  # an object that is written and removed to know whether that is allowed


def index(
    where: str | os.PathLike[str],
    split: str = "train",
    *,
    skip: bool = False,
    workers: int = 0,
    strict: bool = False,
    wanted: Wanted = ANY,
    label_field: str = "",
    max_pixels: int = MAX_PIXELS,
    out: Path | None = None,
) -> Manifest:
    """Describe the tars, or the `.beton`, or both, of a folder or URL; `skip` leaves out what loaders cannot read.

    `strict` refuses what is passed over; `wanted`: what to take of tars; `label_field`: the labels of a .beton;
    `max_pixels`: of the largest image that loaders shall read; `out`: the folder of the manifest of files at a URL,
    which is beside them by default.
    UserError when the folder has a description already, or nothing to describe, or may not be written.
    """
    files, passed, where = storage(os.fspath(where)), PassedOver(), os.fspath(where)
    with opening(where):
        tars, betons = _files(files, split, passed)
    with _written_to(files, where, out) as root:
        if tars:
            samples = tar_samples(where, split, workers, wanted, max_pixels)
        else:
            samples = beton_samples(files, betons, workers, label_field, max_pixels, passed)
        if strict:
            samples.passed.refuse(files.show())
        keep = np.array([not header.cause for header in samples.headers])
        skipped = _skipped(samples, keep, skip)
        table, lines = samples.table().filter(pa.array(keep)), samples.lines
        if tars and betons:
            known = {*table["sha256"].to_pylist()}
            others = beton_samples(files, betons, workers, NONE, max_pixels, among=known)
            table, lines = _with_beton(table, others, files.show(betons[0])), [*lines, *others.lines]
        turned = sum(header.turned for header in samples.headers)
        info = DatasetInfo(
            name=files.root.resolve().name if isinstance(files, Local) else name_of(where),
            split=split,
            subset={"name": "full", "from": "index", "split": split},
            classes=samples.classes,
            counts=(),  # `write` counts
            samples=0,
            encoding={"indexed": True}
            | ({"turned": turned} if turned else {})
            | ({"fields": list(wanted.fields)} if wanted.fields else {}),
            formats=("webdataset",) * bool(tars) + ("ffcv",) * bool(betons),
            files=tuple(lines),
            report={"check": "headers", "normalised": {}, "suspect": [], "skipped": skipped}
            | ({"passed_over": samples.passed.report()} if samples.passed else {}),
        )
        made = write(root, info, [table], max_pixels)
    return made if out or isinstance(files, Local) else dataclasses.replace(made, url=files.url)


@contextmanager
def _written_to(files: Storage, where: str, out: Path | None) -> Iterator[Path]:
    """The folder for the manifest: that of the files, or `out`, or one whose files are uploaded beside those at a URL
    when the block ends, dataset.json last."""
    if isinstance(files, Local):
        if out:
            raise UserError(f"--out {out} is for files at a URL: the manifest of {where} is written beside its files")
        yield files.root
        return
    if out:
        if (out / PAGE).exists():
            raise UserError(f"{out / PAGE} describes other files: name another --out")
        make_folder(out)
        yield out
        return
    try:
        place = target(where)
        assert isinstance(place, Store)
        place.write(TRIAL, b"")
        place.remove(TRIAL)
    except UserError as error:
        raise UserError(f"{error}; --out DIR keeps the manifest in a folder here") from error
    with TemporaryDirectory() as folder:
        yield Path(folder)
        for path in sorted(Path(folder).iterdir(), key=lambda path: path.name == PAGE):
            place.put(path, path.name)


def _files(files: Storage, split: str, passed: PassedOver) -> tuple[list[str], list[str]]:
    """The tars and the .beton files of a folder, of the split if there are several; UserError when there is nothing to
    index."""
    names = sorted(entry.name for entry in files.entries() if not entry.is_dir)
    if PAGE in names:
        raise UserError(f"{files.show(PAGE)} describes these files already: remove it to index them again")
    tars, betons = ([name for name in names if name.endswith(end)] for end in (".tar", ".beton"))
    if not tars and not betons:
        packed = [name for name in names if name.lower().endswith(COMPRESSED)]
        remedy = f"unpack {packed[0]}, which is compressed" if packed else "name the folder that holds them"
        raise UserError(f"{files.show()} holds neither tars nor a .beton: {remedy}")
    if len(betons) > 1:
        betons = archives(files, ".beton", split, passed)
        if not betons:
            raise UserError(f"{files.show()} holds no .beton of the {split} split: take the other --split")
    return tars, betons


def _skipped(samples: Samples, keep: np.ndarray, skip: bool) -> list[JSON]:
    """Source and cause of the images that loaders cannot read; UserError unless `skip`, or when none is left."""
    bad = np.flatnonzero(~keep).tolist()
    skipped = [{"source": samples.source[row], "cause": samples.headers[row].cause} for row in bad]
    if skipped and (not skip or not keep.any()):
        first = skipped[0]
        raise UserError(
            f"{first['source']} cannot be read by the loaders ({first['cause']}; {len(skipped)} such): leave these out "
            "with --on-error skip, or build a set with build_shards.py, which reads more kinds of images"
        )
    return skipped


def _with_beton(table: pa.Table, samples: Samples, name: str) -> pa.Table:
    """The rows with the numbers of the same samples in a .beton, found by their bytes."""
    number = {header.sha256: n for n, header in enumerate(samples.headers)}
    found = [number.get(sha256, -1) for sha256 in table["sha256"].to_pylist()]
    if -1 in found:
        raise UserError(
            f"{name} lacks {plural(found.count(-1), 'sample')} of the tars beside it: "
            "index them in folders of their own"
        )
    return table.set_column(SCHEMA.get_field_index("beton"), "beton", pa.array(found, pa.int64()))
