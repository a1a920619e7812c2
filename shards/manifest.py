"""The description of a data set: `manifest.parquet` with one row per sample, and `dataset.json` (info.py).

Row i is sample id i, local to the set; `uid` names the image across sets, so the same image draws the same views in
`lt6` and in `full`.
"""

import dataclasses
import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import UserError, command
from .files import PAGE, atomic, digest_of
from .identity import identity_of
from .info import DatasetInfo, class_counts, read_info, write_info

TABLE = "manifest.parquet"
SCHEMA = pa.schema(
    [
        ("uid", pa.uint64()),  # `uid_of` the key
        ("key", pa.string()),  # class/stem, unique in the set
        ("label", pa.int32()),  # -1 = unlabeled
        ("source", pa.string()),  # where the image came from, relative to the source's root
        ("height", pa.int32()),  # px, of the stored image
        ("width", pa.int32()),
        ("bytes", pa.int64()),  # size of the stored JPEG
        ("sha256", pa.binary(32)),  # digest of the stored JPEG
        ("shard", pa.int32()),  # tar number, -1 = not in a tar
        ("offset", pa.int64()),  # first byte of the JPEG in its tar
        ("beton", pa.int64()),  # sample number in the .beton, -1 = not in one
    ]
)
FIELDS = pa.schema(  # of a set whose tars hold further members: a value for each of `DatasetInfo.fields`
    [
        ("field_offset", pa.list_(pa.int64())),  # first byte in the tar, -1 = the sample has no such member
        ("field_bytes", pa.list_(pa.int64())),  # -1 = as above
    ]
)
NUMERIC = [f.name for f in SCHEMA if pa.types.is_integer(f.type)]


def uid_of(key: str) -> int:
    """64 bits that name an image in every set: blake2b of its key."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Manifest:
    """A complete data set. Numeric columns are in memory; string columns are read from `root` on demand."""

    root: Path
    info: DatasetInfo
    rows: np.ndarray  # [N] int64, positions in the string columns
    uid: np.ndarray  # [N] uint64
    label: np.ndarray  # [N] int32
    height: np.ndarray  # [N] int32
    width: np.ndarray  # [N] int32
    bytes: np.ndarray  # [N] int64
    shard: np.ndarray  # [N] int32
    offset: np.ndarray  # [N] int64
    beton: np.ndarray  # [N] int64
    text: dict[str, list[str]] | None = None  # string columns of a set that is only in memory (memory.py)

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> "Manifest":
        """Read the set in folder `root`; UserError when it is absent, half-built or of another version."""
        root = Path(root)
        info = read_info(root)
        try:
            table = pq.read_table(root / TABLE, columns=NUMERIC, memory_map=True)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{root / TABLE} is absent or damaged ({error}): rebuild the set") from error
        if table.num_rows != info.samples:
            raise UserError(f"{root / TABLE} has {table.num_rows} rows, {PAGE} says {info.samples}: rebuild the set")
        columns = {name: table[name].to_numpy() for name in NUMERIC}
        return cls(root, info, np.arange(info.samples), **columns)

    def __len__(self) -> int:
        return len(self.uid)

    @cached_property
    def hw(self) -> np.ndarray:
        """[N, 2] int32 heights and widths of the stored images, px."""
        return np.stack([self.height, self.width], axis=1)

    @cached_property
    def keys(self) -> list[str]:
        """[N] names, class/stem."""
        return self.strings("key")

    @cached_property
    def identity(self) -> str:
        """One digest of images, labels and classes (identity.py), whatever the format. Computed for an older set, and
        for one whose table was written again since the build."""
        known, inside = self.info.identity, self.text is not None
        if known and (inside or digest_of(self.root / TABLE) == self.info.manifest):
            return known
        content = (self.height, self.width, self.bytes) if inside else (b"".join(self.strings("sha256")),)
        return identity_of(self.info.classes, self.uid, self.label, *content)

    def strings(self, column: str) -> list[Any]:
        """Column key, source or sha256, [N]; UserError for a column that an unbuilt set does not have."""
        if self.text is None:
            return pq.read_table(self.root / TABLE, columns=[column])[column].take(self.rows).to_pylist()
        if column not in self.text:
            raise UserError(
                f"{self.root} was not built, so there is no {column} of its images, only {' and '.join(self.text)}: "
                "build a set of it"
            )
        return [self.text[column][row] for row in self.rows.tolist()]

    def field(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """First byte and size, each [N] int64, of a further member of each sample in its tar, -1 = it has none.

        UserError for one that the set was not built or indexed with."""
        names = self.info.fields
        if name not in names:
            held = f"image, label and {', '.join(names)}" if names else "image and label only"
            raise UserError(f"{self.root} holds {held}: build or index it with --fields {name}")
        table = pq.read_table(self.root / TABLE, columns=FIELDS.names)
        first, size = (table[c].combine_chunks().flatten().to_numpy().reshape(-1, len(names)) for c in FIELDS.names)
        return first[self.rows, names.index(name)], size[self.rows, names.index(name)]

    def take(self, rows: np.ndarray, label: np.ndarray, classes: tuple[str, ...]) -> Self:
        """The samples `rows` [M], with labels [M] among `classes`, over the same files."""
        columns = {name: getattr(self, name)[rows] for name in NUMERIC} | {"rows": self.rows[rows], "label": label}
        facts = {"classes": classes, "counts": class_counts(label, classes), "samples": len(rows)}
        identity = identity_of(classes, rows, label, self.identity.encode())
        info = dataclasses.replace(self.info, **facts, identity=identity)
        return dataclasses.replace(self, info=info, **columns)

    def path(self, row: int) -> Path:
        """The file of a sample in a set built with `--format folder`."""
        return self.root / "folder" / f"{self.keys[row]}.jpg"

    def tars(self) -> list[Path]:
        """Tar files in shard order."""
        return [self.root / f["file"] for f in self.info.files if f["file"].endswith(".tar")]

    def betons(self) -> list[Path]:
        """The .beton, or several that were indexed as one set, in the order of their samples' numbers."""
        return [self.root / f["file"] for f in self.info.files if f["file"].endswith(".beton")]

    def beton_path(self) -> Path:
        """The .beton file; UserError for several, which only the readers of this project read as one."""
        first, *others = self.betons()
        if others:
            raise UserError(
                f"{self.root} holds {len(others) + 1} .beton files, stock ffcv reads one: take --loader ffcv"
            )
        return first

    def repair(self) -> str:
        """What makes damaged or absent files of the set whole again, for messages."""
        if self.info.kind == "indexed":  # its files have no other copy here
            return "fetch the file again"
        return f"`{command('python tools/verify_shards.py', self.root, '--repair')}` mends it"

    def require_labels(self, purpose: str) -> None:
        """UserError unless every sample has a label; `purpose` names what needs the labels."""
        if bare := int((self.label < 0).sum()):
            raise UserError(
                f"{bare:,} of the {len(self):,} samples of {self.root} are unlabeled: {purpose} needs labels, "
                "name a labeled set"
            )

    def require(self, form: str) -> None:
        """UserError unless the set was built in format `form`."""
        if form not in self.info.formats:
            raise UserError(
                f"{self.root} holds {', '.join(self.info.formats)}, not {form}: build it with "
                f"`python tools/build_shards.py --format {form} ...` or choose a loader for what is there"
            )


def write(root: Path, info: DatasetInfo, table: pa.Table) -> Manifest:
    """Write `manifest.parquet` from a table of SCHEMA, and FIELDS if there are any, then `dataset.json` with its
    identity, each under a partial name first."""
    assert table.schema == pa.schema([*SCHEMA, *(FIELDS if info.fields else ())])
    assert table.num_rows == info.samples
    with atomic(root / TABLE) as file:
        pq.write_table(table, file, compression="zstd", use_dictionary=False, row_group_size=1 << 20)
    uid, label, sha256 = table["uid"].to_numpy(), table["label"].to_numpy(), table["sha256"].to_pylist()
    identity = identity_of(info.classes, uid, label, b"".join(sha256))
    write_info(root, dataclasses.replace(info, manifest=digest_of(root / TABLE), identity=identity))
    return Manifest.open(root)
