"""Describes tars and a `.beton` that exist already by a manifest; the files stay as they are.

Loaders then read the images as they read a set of our own. Only images that loaders cannot decode alike are refused:
anything but JPEGs of one or three components. EXIF orientation is not applied, because no image is written.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..errors import UserError
from ..files import PAGE
from ..formats.beton import Layout
from ..formats.digest import Digest
from ..info import JSON, DatasetInfo
from ..manifest import Manifest, write
from ..names import open_file
from ..sources.local import Local
from ..sources.packed import COMPRESSED
from ..sources.passed import PassedOver
from ..sources.split import archives
from ..sources.wanted import ANY, NONE, Wanted
from ..table import SCHEMA
from ..unpack import MAX_PIXELS
from .samples import Samples, beton_samples, tar_samples


def index(
    root: Path,
    split: str = "train",
    *,
    skip: bool = False,
    workers: int = 0,
    strict: bool = False,
    wanted: Wanted = ANY,
    label_field: str = "",
    max_pixels: int = MAX_PIXELS,
) -> Manifest:
    """Describe the tars, or the `.beton`, or both, of folder `root`; `skip` leaves out what loaders cannot read.

    `strict` refuses what is passed over; `wanted`: what to take of tars; `label_field`: the labels of a .beton;
    `max_pixels`: of the largest image that loaders shall read.
    UserError when the folder has a description already, or nothing to describe.
    """
    passed = PassedOver()
    tars, betons = _files(root, split, passed)
    if tars:
        samples = tar_samples(root, split, workers, wanted, max_pixels)
    else:
        samples = beton_samples(betons, workers, label_field, max_pixels, passed)
    if strict:
        samples.passed.refuse(root)
    keep = np.array([not header.cause for header in samples.headers])
    skipped = _skipped(samples, keep, skip)
    table = samples.table().filter(pa.array(keep))
    if tars and betons:
        table = _with_beton(table, beton_samples(betons, workers, NONE, max_pixels), betons[0])
    turned = sum(header.turned for header in samples.headers)
    info = DatasetInfo(
        name=root.resolve().name,
        split=split,
        subset={"name": "full", "from": "index", "split": split},
        classes=samples.classes,
        counts=(),  # `write` counts
        samples=0,
        encoding={"indexed": True}
        | ({"turned": turned} if turned else {})
        | ({"fields": list(wanted.fields)} if wanted.fields else {}),
        formats=("webdataset",) * bool(tars) + ("ffcv",) * bool(betons),
        files=tuple(_lines(table, samples.files if tars else [], betons)),
        report={"check": "headers", "normalised": {}, "suspect": [], "skipped": skipped}
        | ({"passed_over": samples.passed.report()} if samples.passed else {}),
    )
    return write(root, info, [table], max_pixels)


def _files(root: Path, split: str, passed: PassedOver) -> tuple[list[Path], list[Path]]:
    """The tars and the .beton files of a folder, of the split if there are several; UserError when there is nothing to
    index."""
    if (root / PAGE).exists():
        raise UserError(f"{root / PAGE} describes these files already: remove it to index them again")
    tars, betons = sorted(root.glob("*.tar")), sorted(root.glob("*.beton"))
    if not tars and not betons:
        packed = sorted(path.name for path in root.glob("*") if path.name.lower().endswith(COMPRESSED))
        remedy = f"unpack {packed[0]}, which is compressed" if packed else "name the folder that holds them"
        raise UserError(f"{root} holds neither tars nor a .beton: {remedy}")
    if len(betons) > 1:
        betons = [root / name for name in archives(Local(root), ".beton", split, passed)]
        if not betons:
            raise UserError(f"{root} holds no .beton of the {split} split: take the other --split")
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


def _with_beton(table: pa.Table, samples: Samples, path: Path) -> pa.Table:
    """The rows with the numbers of the same samples in a .beton, found by their bytes."""
    number = {header.sha256: n for n, header in enumerate(samples.headers)}
    found = [number.get(sha256, -1) for sha256 in table["sha256"].to_pylist()]
    if -1 in found:
        raise UserError(
            f"{path} lacks {found.count(-1)} samples of the tars beside it: index them in folders of their own"
        )
    return table.set_column(SCHEMA.get_field_index("beton"), "beton", pa.array(found, pa.int64()))


def _lines(table: pa.Table, tars: list[Path], betons: list[Path]) -> Iterator[JSON]:
    """What `dataset.json` tells about each file; its digest (digest.py) covers the samples in the table."""
    shard, offset, size, number = (table[name].to_numpy() for name in ("shard", "offset", "bytes", "beton"))
    for n, path in enumerate(tars):
        own = np.flatnonzero(shard == n)
        yield _line(path, offset[own], size[own])
    layout = Layout.of(*betons) if betons else None
    for n, path in enumerate(betons):
        assert layout
        own = number[layout.file[number] == n]
        yield _line(path, layout.where[own].astype(np.int64), layout.size[own].astype(np.int64))


def _line(path: Path, start: np.ndarray, length: np.ndarray) -> JSON:
    order = np.argsort(start)
    with open_file(path) as file:
        digest = Digest(file)
        samples = sum(1 for _ in digest.images(zip(start[order].tolist(), length[order].tolist(), strict=True)))
        digested = digest.end()
    return {"file": path.name, "bytes": path.stat().st_size, "samples": samples, "digest": digested}
