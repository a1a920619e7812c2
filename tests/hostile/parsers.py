"""Every parser of files that others wrote, as a function of bytes: it returns, or raises what its callers turn into one
line. Anything else is a fault."""

import io
import shutil
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from viewstream.pipeline.static.read import _pixels
from viewstream.shards.building import records
from viewstream.shards.columns import FILE
from viewstream.shards.encoding.encode import Encoding, encode
from viewstream.shards.encoding.headers import Damaged, fault_of, may_turn, plain_size
from viewstream.shards.errors import UserError
from viewstream.shards.files import PAGE
from viewstream.shards.formats.beton import Layout
from viewstream.shards.info import DatasetInfo, read_info
from viewstream.shards.lists import class_names, parse, read
from viewstream.shards.manifest import Manifest, uid_of, write
from viewstream.shards.sources.devkit import kaggle
from viewstream.shards.sources.local import Local
from viewstream.shards.sources.matfile import load
from viewstream.shards.sources.notes import note
from viewstream.shards.sources.parquet import parquet
from viewstream.shards.sources.samples import samples
from viewstream.shards.sources.tsv import tsv
from viewstream.shards.sources.wanted import ANY, Wanted
from viewstream.shards.table import FIELDS, SCHEMA, TABLE

KEEP = Encoding(keep=True, max_side=0, short_side=0, quality=90, check="headers", max_pixels=1 << 20)
SHRUNK = Encoding(keep=False, max_side=16, short_side=0, quality=90, check="decode", max_pixels=1 << 20)
Parser = Callable[[bytes], None]


def make_set(root: Path) -> Manifest:
    """A set of four samples with a field, without its tar."""
    keys, none = [f"{c}/{n}" for c in "ab" for n in range(2)], np.full(4, -1)
    numbers = {
        "height": [8] * 4,
        "width": [9] * 4,
        "bytes": [300] * 4,
        "shard": [0] * 4,
        "offset": [512, 2048, 4096, 8192],
    }
    columns = {"uid": list(map(uid_of, keys)), "key": keys, "label": [0, 0, 1, 1], "source": keys, **numbers}
    columns |= {"sha256": [bytes([n] * 32) for n in range(4)], "beton": none}
    columns |= {"field_offset": [[1024]] * 4, "field_bytes": [[5]] * 4}
    info = DatasetInfo(
        name="tiny",
        split="train",
        subset={"name": "full", "split": "train"},
        classes=("a", "b"),
        counts=(),
        samples=0,
        encoding={"quality": 90, "max_side": 9, "fields": ["txt"]},
        formats=("webdataset",),
        files=({"file": "tiny-000000.tar", "bytes": 10240, "samples": 4, "digest": "0" * 64},),
        report={"check": "headers", "normalised": {}, "suspect": [], "skipped": []},
    )
    root.mkdir(parents=True)
    return write(root, info, [pa.table(columns, schema=pa.schema([*SCHEMA, *FIELDS]))])


def parsers(folder: Path) -> dict[str, Parser]:
    """Each parser by its name; those of files read them in `folder`."""
    root, bare = folder / "set", folder / "bare"
    make_set(root)
    shutil.copytree(root, bare)
    (bare / FILE).unlink()
    for name in ("tsv", "building"):
        (folder / name).mkdir()

    def written(path: Path, data: bytes) -> Path:
        path.write_bytes(data)
        return path

    def page(data: bytes) -> None:
        written(folder / PAGE, data)
        read_info(folder)

    def columns(data: bytes) -> None:
        written(root / FILE, data)
        Manifest.open(root).check_all()

    def table(data: bytes) -> None:
        written(bare / TABLE, data)
        made = Manifest.open(bare)
        _ = made.keys, made.key(3), made.sha256, made.counts, made.packed("source"), made.field("txt")

    def record(data: bytes) -> None:
        written(folder / "building" / "000000.parquet", records.sealed(data))
        records.read(folder / "building", [""])

    def tar(data: bytes) -> None:
        written(folder / "x.tar", data)
        for wanted in (ANY, Wanted(fields=("txt",))):
            list(samples(Local(folder), ["x.tar"], wanted))

    def table_of_images(data: bytes) -> None:
        parquet(written(folder / "x.parquet", data), "train")

    def rows(data: bytes) -> None:
        (folder / "tsv" / "x.lineidx").unlink(missing_ok=True)
        tsv(written(folder / "tsv" / "x.tsv", data), "train")

    def index(data: bytes) -> None:
        written(folder / "tsv" / "x.tsv", b"a\t0\tAAAA\nb\t1\tAAAA\n")
        written(folder / "tsv" / "x.lineidx", data)
        tsv(folder / "tsv" / "x.tsv", "train")

    def image(encoding: Encoding, data: bytes) -> None:
        fault_of(data), may_turn(data), plain_size(data)
        encode(data, encoding)

    def notes(data: bytes) -> None:
        for suffix in ("cls", "json"):
            note(suffix, data, ANY)
            note(suffix, data, Wanted(label="a.b"))

    def checkpoint(data: bytes) -> None:
        import torch

        from viewstream.trainers.checkpoints.files import load_file
        from viewstream.trainers.checkpoints.layouts import unpacked

        with warnings.catch_warnings(action="ignore"), torch.device("cpu"):  # torch warns of what it refuses later
            unpacked(load_file(written(folder / "x.pt", data)))

    found: dict[str, tuple[Parser, tuple[type[Exception], ...]]] = {
        "page": (page, (UserError,)),
        "columns": (columns, (UserError,)),
        "table": (table, (UserError,)),
        "beton": (lambda data: Layout.of(written(folder / "x.beton", data)) and None, (UserError,)),
        "tar": (tar, (UserError,)),
        "list": (lambda data: parse(data, "list") and None, (UserError,)),
        "classes": (lambda data: class_names(data, "list") and None, (UserError,)),
        "packed-list": (lambda data: read(written(folder / "x.gz", data)) and None, (UserError,)),
        "record": (record, ()),
        "jpeg": (partial(image, KEEP), (Damaged,)),
        "image": (partial(image, SHRUNK), (Damaged,)),
        "static-image": (lambda data: _pixels(written(folder / "x.jpeg", data)) is None and None, (UserError,)),
        "tsv": (rows, (UserError,)),
        "line-index": (index, (UserError,)),
        "images-table": (table_of_images, (UserError,)),
        "note": (notes, ()),
        "matlab": (lambda data: load(data) and None, (ValueError,)),
        "kaggle": (lambda data: kaggle(data, "table") and None, (UserError,)),
        "checkpoint": (checkpoint, (UserError,)),
        "checkpoint-pickle": (lambda data: checkpoint(pickled(data)), (UserError,)),
    }
    return {name: partial(_allowed, parser, errors) for name, (parser, errors) in found.items()}


def pickled(data: bytes) -> bytes:
    """A checkpoint, with right checksums, whose pickle is `data`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
        for name in ("data/0", "data/1"):
            archive.writestr(f"archive/{name}", bytes(16))
    return file.getvalue()


def _allowed(parser: Parser, errors: tuple[type[Exception], ...], data: bytes) -> None:
    try:
        parser(data)
    except errors as error:
        if UserError in errors and "\n" in str(error):
            raise AssertionError(f"more than one line: {error}") from error
