"""The description of a data set: `manifest.parquet` with one row per sample (table.py), its numbers again for mapping
(columns.py), and `dataset.json` (info.py).

Row i is sample id i, local to the set; `uid` names the image across sets, so the same image draws the same views in
`lt6` and in `full`.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from .columns import FILE, IN_TABLE, NUMBERS, Columns, area, digests_of, numbers_of, opened, write_columns
from .errors import UserError, command
from .files import PAGE, digest_of
from .identity import identity_of
from .info import DatasetInfo, class_counts, read_info, write_info
from .names import safe
from .rows import Bounds
from .table import FIELDS, SCHEMA, TABLE, Table, write_table
from .unpack import MAX_PIXELS

TOGETHER = 1 << 20  # rows that are checked at once


def uid_of(key: str) -> int:
    """64 bits that name an image in every set: blake2b of its key."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def file_of(root: Path, key: str, static: bool) -> str:
    """The file of an image in the set in folder `root`, built with `--format folder`, or in a static set; UserError for
    a key that leads out of it."""
    name = safe(key, root, "set")
    return f"{root}/{name}.jpeg" if static else f"{root}/folder/{name}.jpg"


@dataclass(frozen=True)
class Manifest:
    """A complete data set. Its numbers are mapped from `root`, and read there without columns.py's file; strings are
    read from `root` on demand."""

    root: Path
    info: DatasetInfo
    chosen: np.ndarray | None  # [N] int64, positions in the table of some of its samples; None: all of them
    uid: np.ndarray  # [N] uint64
    label: np.ndarray  # [N] int32
    hw: np.ndarray  # [N, 2] int32 heights and widths of the stored images, px
    bytes: np.ndarray  # [N] int64
    shard: np.ndarray  # [N] int32
    offset: np.ndarray  # [N] int64
    beton: np.ndarray  # [N] int64
    mapped: Columns | None = None  # of the whole table, if its numbers are mapped
    text: dict[str, list[str]] | None = None  # string columns of a set that is only in memory (memory.py)
    url: str = field(default="", repr=False)  # of a remote set, with its password: no file holds that
    max_pixels: int = MAX_PIXELS  # px, of an image that is read

    @classmethod
    def open(cls, root: str | os.PathLike[str], *, by_table: bool = False, max_pixels: int = MAX_PIXELS) -> "Manifest":
        """Open the set in folder `root`; `by_table` reads and checks its numbers, as for a set that was built before
        there were columns to map. UserError when it is absent, half-built, damaged, of another version, or has an image
        of more than `max_pixels`."""
        root = Path(root)
        info = read_info(root)
        table = Table(root / TABLE)
        if len(table) != info.samples:
            raise UserError(f"{root / TABLE} has {len(table)} rows, {PAGE} says {info.samples}: rebuild the set")
        if by_table or not (root / FILE).exists():
            whole = cls(root, info, None, **numbers_of(table.columns(*IN_TABLE)), max_pixels=max_pixels)
            whole.check_all()
            return whole
        mapped = opened(root, info.samples, info.manifest)
        if not 0 <= mapped.largest <= max_pixels:
            raise UserError(
                f"{root} has an image of {mapped.largest:,} px, more than the {max_pixels:,} that are read: raise "
                "--max-pixels if you know its images, they take three bytes a pixel"
            )
        return cls(root, info, None, **mapped.numbers(), mapped=mapped, max_pixels=max_pixels)

    def __len__(self) -> int:
        return len(self.uid)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: mapped columns are not, another process maps them too."""
        shared = self.mapped.numbers() if self.mapped else {}
        return {name: v for name, v in vars(self).items() if name != "sha256" and v is not shared.get(name, self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        mapped = state["mapped"]
        vars(self).update((mapped.numbers() if mapped else {}) | state)

    @property
    def rows(self) -> np.ndarray:
        """[N] int64 positions in the table, made at each call."""
        return np.arange(len(self)) if self.chosen is None else self.chosen

    @property
    def height(self) -> np.ndarray:
        """[N] int32 heights of the stored images, px."""
        return self.hw[:, 0]

    @property
    def width(self) -> np.ndarray:
        """[N] int32 widths of the stored images, px."""
        return self.hw[:, 1]

    @cached_property
    def sha256(self) -> np.ndarray:
        """[N, 32] uint8 digests of the stored JPEGs; UserError for an unbuilt set, which has none."""
        if self.text is not None:
            raise self._unbuilt("sha256")
        whole = self.mapped.sha256 if self.mapped else digests_of(Table(self.root / TABLE).columns("sha256"))
        return whole if self.chosen is None else whole[self.chosen]

    @cached_property
    def keys(self) -> list[str]:
        """[N] names, class/stem."""
        return self.strings("key")

    @cached_property
    def largest(self) -> int:
        """Area of the largest image, px."""
        return self.mapped.largest if self.mapped and self.hw is self.mapped.hw else area(self.hw)

    @cached_property
    def bounds(self) -> Bounds:
        """What the numbers of a row may be."""
        return Bounds.of(self.info, self.max_pixels, self.largest)

    def check(self, rows: np.ndarray) -> None:
        """UserError if a number of one of `rows` [N] is out of bounds. Every reader and loader asks before it reads."""
        self.bounds.check(self.root, rows, {name: getattr(self, name)[rows] for name in NUMBERS})

    def check_labels(self) -> None:
        """UserError for a label beyond the classes: asked before all labels are used at once."""
        if len(self) and not -1 <= self.label.min() <= self.label.max() < max(1, len(self.info.classes)):
            self.check_all()

    def check_all(self) -> None:
        """`check` of all rows, a part at a time."""
        for at in range(0, len(self), TOGETHER):
            self.check(np.arange(at, min(at + TOGETHER, len(self))))

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Samples of each class, [C]."""
        if self.mapped and self.label is self.mapped.label:
            return self.info.counts
        return class_counts(self.label, self.info.classes)

    @cached_property
    def uids(self) -> str:
        """sha256 of the uids, in hexadecimal."""
        if self.mapped and self.uid is self.mapped.uid:
            return self.mapped.uids
        return hashlib.sha256(np.ascontiguousarray(self.uid).data).hexdigest()

    @cached_property
    def identity(self) -> str:
        """One digest of images, labels and classes (identity.py), whatever the format. Computed for an older set, and
        for one without columns whose table was written again since the build."""
        known, inside = self.info.identity, self.text is not None
        if known and (inside or self.mapped or digest_of(self.root / TABLE) == self.info.manifest):
            return known
        content = (self.height, self.width, self.bytes) if inside else (self.sha256.reshape(-1),)
        return identity_of(self.info.classes, self.uid, self.label, *content)

    def key(self, row: int) -> str:
        """The name of a sample, class/stem."""
        return self.strings("key", [row])[0]

    def strings(self, column: str, rows: Sequence[int] | np.ndarray | None = None) -> list[Any]:
        """Column key, source or sha256, [N], or its values in `rows` [n], which reads no more of the table than it
        must. UserError for a column that an unbuilt set does not have."""
        at = None if rows is None else np.asarray(rows, np.int64)
        if self.chosen is not None:
            at = self.chosen if at is None else self.chosen[at]
        if self.text is not None:
            if column not in self.text:
                raise self._unbuilt(column)
            values = self.text[column]
            return list(values) if at is None else [values[row] for row in at.tolist()]
        table = Table(self.root / TABLE)
        return table.columns(column)[column].to_pylist() if at is None else table.values(column, at)

    def packed(self, column: str) -> pa.ChunkedArray:
        """Column key or source of a built set, [N], for readers that need a name with each sample: some 30 bytes a name
        where a list takes 90."""
        whole = Table(self.root / TABLE).columns(column)[column]
        return whole if self.chosen is None else whole.take(pa.array(self.chosen))

    def _unbuilt(self, column: str) -> UserError:
        assert self.text is not None
        return UserError(
            f"{self.root} was not built, so there is no {column} of its images, only {' and '.join(self.text)}: "
            "build a set of it"
        )

    def field(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """First byte and size, each [N] int64, of a further member of each sample in its tar, -1 = it has none.

        UserError for one that the set was not built or indexed with."""
        names = self.info.fields
        if name not in names:
            held = f"image, label and {', '.join(names)}" if names else "image and label only"
            raise UserError(f"{self.root} holds {held}: build or index it with --fields {name}")
        table = Table(self.root / TABLE).columns(*FIELDS.names)
        first, size = (self._field_column(table[c]) for c in FIELDS.names)
        rows = slice(None) if self.chosen is None else self.chosen
        return first[rows, names.index(name)], size[rows, names.index(name)]

    def _field_column(self, column: pa.ChunkedArray) -> np.ndarray:
        """[N, F] int64 of a column of FIELDS."""
        values, each = column.combine_chunks().flatten(), len(self.info.fields)
        if len(values) != len(column) * each or values.null_count:
            raise UserError(f"{self.root / TABLE} has not {each} fields in every row: rebuild the set")
        return values.to_numpy().reshape(-1, each)

    def take(self, rows: np.ndarray, label: np.ndarray, classes: tuple[str, ...]) -> Self:
        """The samples `rows` [M], with labels [M] among `classes`, over the same files."""
        at = rows if self.chosen is None else self.chosen[rows]
        columns = {name: getattr(self, name)[rows] for name in NUMBERS} | {"chosen": at, "label": label}
        facts = {"classes": classes, "counts": class_counts(label, classes), "samples": len(rows)}
        identity = identity_of(classes, rows, label, self.identity.encode())
        info = dataclasses.replace(self.info, **facts, identity=identity)
        return dataclasses.replace(self, info=info, **columns)

    def whole(self) -> "Manifest":
        """A built set with all its samples, of which this one may have some: the digest of a file is of all in it."""
        if self.chosen is None:
            return self
        return dataclasses.replace(Manifest.open(self.root, max_pixels=self.max_pixels), url=self.url)

    def path(self, row: int) -> Path:
        """The file of a sample in a set built with `--format folder`."""
        return Path(file_of(self.root, self.key(row), self.info.static))

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
        self.check_labels()
        if bare := len(self) - sum(self.counts):
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


def write(root: Path, info: DatasetInfo, parts: Iterable[pa.Table], max_pixels: int = MAX_PIXELS) -> Manifest:
    """Write `manifest.parquet` from tables of SCHEMA, and FIELDS if there are any, then `manifest.columns`, then
    `dataset.json` with what follows from them (samples, counts, digest, identity), each under a partial name first.
    UserError for a row that no loader would read."""
    write_table(root / TABLE, pa.schema([*SCHEMA, *(FIELDS if info.fields else ())]), parts)
    write_columns(root)
    mapped, digest = Columns.open(root / FILE), digest_of(root / TABLE)
    Manifest(root, info, None, **mapped.numbers(), mapped=mapped, max_pixels=max_pixels).check_all()
    identity = identity_of(info.classes, mapped.uid, mapped.label, mapped.sha256.reshape(-1))
    counts = class_counts(mapped.label, info.classes)
    found = {"samples": len(mapped.uid), "counts": counts, "manifest": digest, "identity": identity}
    write_info(root, dataclasses.replace(info, **found))
    return Manifest.open(root, max_pixels=max_pixels)
