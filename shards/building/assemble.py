"""The end of a build by units: what holds all images, made from the tars and records in order.

In memory are the rows of one unit and 64 bytes for each image of the .beton."""

import hashlib
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg

from ..errors import UserError
from ..files import partial_path, place
from ..formats.beton import RAW, BetonWriter
from ..formats.folder import FolderWriter
from ..info import JSON
from ..names import open_file
from ..progress import Bar
from ..table import FIELDS, SCHEMA
from .object_store import Store
from .records import Record
from .target import Target

LOG = logging.getLogger(__name__)

ROOM = 64  # bytes of a .beton for each sample, beside its image


def tables(records: Sequence[Record], formats: tuple[str, ...], fields: bool) -> Iterator[pa.Table]:
    """The rows of the manifest. Numbers of tars and samples count what was stored before them."""
    names = (*SCHEMA.names, *(FIELDS.names if fields else ()))
    shard = sample = 0
    for record in records:
        rows, count = record.rows(*names), record.samples
        values = {
            "shard": np.full(count, shard if "webdataset" in formats else -1),
            "offset": rows["offset"] if "webdataset" in formats else np.full(count, -1),
            "beton": np.arange(sample, sample + count) if "ffcv" in formats else np.full(count, -1),
        }
        columns = {name: rows[name] for name in names} | values
        yield pa.table(columns, schema=rows.schema)
        shard, sample = shard + bool(count), sample + count


def require_room(records: Sequence[Record], scratch: Path, target: Target) -> None:
    """Say how large the .beton is that the driver of a build on an object store makes in its scratch. UserError when
    that has less room."""
    tar = max(record.tar["bytes"] for record in records if record.tar)
    size = sum(_size(record) for record in records)
    LOG.info(f"the .beton, {size / 1e9:,.2f} GB, is made in {scratch}, then uploaded to {target.show()}")
    if (free := shutil.disk_usage(scratch).free) < size + tar:
        raise UserError(
            f"{scratch} has {free / 1e9:,.2f} GB, the .beton and one tar take {(size + tar) / 1e9:,.2f} GB: let TMPDIR "
            "name a larger disk"
        )


def _size(record: Record) -> int:
    """Bytes that the samples of a unit take in a .beton, at least."""
    rows = record.rows("raw", "height", "width", "bytes")
    raw, height, width, size = (rows[name].to_numpy() for name in rows.column_names)
    return ROOM * len(rows) + int(np.where(raw, 3 * height.astype(np.int64) * width, size).sum())


def assemble(
    name: str, formats: tuple[str, ...], capacity: int, records: Sequence[Record], target: Target, out: Path, work: Path
) -> tuple[JSON, ...]:
    """Write the .beton and the single files of a set of at most `capacity` samples into folder `out`, from the tars,
    which pass through folder `work`; what `dataset.json` tells about the .beton."""
    path, single = out / f"{name}.beton", out / "folder"
    with ExitStack() as stack:
        beton = folder = None
        if "ffcv" in formats:
            beton = BetonWriter(stack.enter_context(partial_path(path).open("w+b")), capacity)
        if "folder" in formats:
            for left in (single, partial_path(single)):  # of a build that was killed here
                shutil.rmtree(left, ignore_errors=True)
            folder = FolderWriter(partial_path(single))
        bar = stack.enter_context(Bar(sum(r.samples for r in records), "img", "assembling"))
        for record in records:
            for row, jpeg in _images(record, target, work):
                if beton:
                    _add(beton, row, jpeg)
                if folder:
                    folder.add(row["key"], jpeg)
                bar.update()
        if folder:
            folder.sync()
            place(partial_path(single), single)
        if not beton:
            return ()
        digest = beton.end()
        beton.file.flush()
        place(partial_path(path), path)
        return ({"file": path.name, "bytes": path.stat().st_size, "samples": beton.samples, "digest": digest},)


def _images(record: Record, target: Target, work: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The rows of a unit and their JPEGs. UserError for a tar whose bytes are no longer those that were put there."""
    if not record.tar:
        return
    rows = record.rows("key", "label", "height", "width", "offset", "bytes", "sha256", "raw", "pixels")
    path = target.fetch(record.tar["file"], work)
    with open_file(path) as tar:
        for row in rows.to_pylist():
            tar.seek(row["offset"])
            jpeg = tar.read(row["bytes"])
            if hashlib.sha256(jpeg).digest() != row["sha256"]:
                where = target.show(record.tar["file"])
                raise UserError(f"{where} was damaged since it was made: remove it, the same command makes it again")
            yield row, jpeg
    if isinstance(target, Store):
        path.unlink()


def _add(beton: BetonWriter, row: dict[str, Any], jpeg: bytes) -> None:
    shape = row["height"], row["width"], row["label"]
    if row["raw"]:
        beton.add(simplejpeg.decode_jpeg(jpeg).tobytes(), row["pixels"], *shape, mode=RAW)
    else:
        beton.add(jpeg, row["sha256"], *shape)
