"""A static set as one more kind of set: its manifest, with a digest of each file, in the order that a build has."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ...shards.building.options import BuildOptions, described
from ...shards.columns import digests_of
from ...shards.errors import UserError
from ...shards.files import atomic
from ...shards.formats.static import RECORD, record_text
from ...shards.info import JSON, DatasetInfo, write_info
from ...shards.keyed import shuffled
from ...shards.manifest import Manifest, uid_of, write
from ...shards.table import SCHEMA


class Written(NamedTuple):
    """A file of a static set."""

    key: str  # <class>/<image>-<number>
    label: int
    height: int  # px
    width: int
    sha256: bytes
    bytes: int


def table_of(files: Sequence[Written]) -> pa.Table:
    """The rows of a manifest for some files, of SCHEMA."""
    columns = dict(zip(Written._fields, zip(*files, strict=True), strict=True))
    keys, absent = columns["key"], np.full(len(files), -1)
    columns |= {"uid": list(map(uid_of, keys)), "source": [f"{key}.jpeg" for key in keys]}
    columns |= {"shard": absent, "offset": absent, "beton": absent}
    return pa.table(columns, schema=SCHEMA)


def in_order(tables: Iterable[pa.Table]) -> pa.Table:
    """All rows as a build of the class folders has them."""
    whole = pa.concat_tables(tables)
    return whole.take(pa.array(shuffled(whole["uid"].to_numpy(), BuildOptions.seed, "storage")))


def describe(folder: Path, classes: tuple[str, ...], table: pa.Table, options: BuildOptions) -> Manifest:
    """A set of the class folders in `folder`, whose files `table` lists; `options`: those of their build."""
    info = DatasetInfo(
        name=f"{folder.name}-full-train",
        split="train",
        subset={"name": "full", "from": "source", "split": "train"},
        classes=classes,
        counts=(),  # `write` counts
        samples=0,
        encoding=described(options),
        formats=("folder",),
        files=(),
        report={"check": options.check, "normalised": {}, "suspect": [], "skipped": []},
    )
    return write(folder, info, [table])


def require_same(made: Manifest, table: pa.Table) -> None:
    """UserError unless a build has read what was written."""
    if not np.array_equal(made.sha256, digests_of(table)):
        raise UserError(f"{made.root} is not what was written: check disk and memory, then make the set again")


def join(made: Manifest, folder: Path) -> Manifest:
    """Move the files of a build of the class folders in `folder` to them: one set of all formats."""
    for path in made.root.iterdir():
        path.rename(folder / path.name)
    info = dataclasses.replace(made.info, formats=("folder", *made.info.formats))
    return dataclasses.replace(made, root=folder, info=info)


def seal(made: Manifest, record: JSON) -> Path:
    """Write what decided the pixels beside a set and into it; returns its folder."""
    with atomic(made.root / RECORD, "w") as file:
        file.write(record_text(record))
    write_info(made.root, dataclasses.replace(made.info, encoding=made.info.encoding | {"static": record}))
    return made.root
