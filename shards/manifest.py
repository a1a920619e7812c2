"""The one description of a built data set: `manifest.parquet`, a row a sample, and `dataset.json`, a page about all.

`dataset.json` is written last and atomically: its presence means that the set is complete. Row i is sample id i, local
to the build; `uid` names the image across builds, so the same image draws the same views in `lt6` and in `full`.
"""

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import UserError
from .files import PAGE, atomic, digest_of

VERSION = 1
TABLE = "manifest.parquet"
SCHEMA = pa.schema(
    [
        ("uid", pa.uint64()),  # of the key: `uid_of`
        ("key", pa.string()),  # class/stem, unique in the set
        ("label", pa.int32()),  # -1 = unlabeled
        ("source", pa.string()),  # where the image came from, relative to the source's root
        ("height", pa.int32()),  # of the stored image, px
        ("width", pa.int32()),
        ("bytes", pa.int64()),  # of the stored JPEG
        ("sha256", pa.binary(32)),  # of the stored JPEG
        ("shard", pa.int32()),  # tar number, -1 = not in a tar
        ("offset", pa.int64()),  # of the JPEG in its tar
        ("beton", pa.int64()),  # sample number in the .beton, -1 = not in one
    ]
)
NUMERIC = [f.name for f in SCHEMA if pa.types.is_integer(f.type)]
JSON = dict[str, Any]


@dataclass(frozen=True)
class DatasetInfo:
    """What holds for the whole set; the content of `dataset.json`."""

    name: str
    split: str  # train or val
    subset: JSON  # name, and where its list came from
    classes: tuple[str, ...]
    counts: tuple[int, ...]  # samples of each class
    samples: int
    encoding: JSON  # keep and check, or max_side or short_side; quality; raw_fraction
    formats: tuple[str, ...]  # webdataset, ffcv, folder
    files: tuple[JSON, ...]  # file, bytes, samples, digest (digest.py) of each tar and .beton, tars in shard order
    report: JSON  # what the build normalized or skipped
    tool: str
    manifest: str = ""  # sha256 of manifest.parquet
    version: int = VERSION


def uid_of(key: str) -> int:
    """64 bits that name an image in every build: blake2b of its key."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Manifest:
    """A complete data set. Numeric columns are read at opening, strings on demand."""

    root: Path
    info: DatasetInfo
    rows: np.ndarray  # [N] int64, of the table on disk
    uid: np.ndarray  # [N] uint64
    label: np.ndarray  # [N] int32
    height: np.ndarray  # [N] int32
    width: np.ndarray  # [N] int32
    bytes: np.ndarray  # [N] int64
    shard: np.ndarray  # [N] int32
    offset: np.ndarray  # [N] int64
    beton: np.ndarray  # [N] int64

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> "Manifest":
        """Read the set in folder `root`; UserError when it is absent, half-built or of another version."""
        root = Path(root)
        info = _read_info(root)
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
        """[N, 2] int32 stored heights and widths, px."""
        return np.stack([self.height, self.width], axis=1)

    @cached_property
    def keys(self) -> list[str]:
        """[N] names, class/stem."""
        return self.strings("key")

    def strings(self, column: str) -> list[Any]:
        """A column that opening left on disk: key, source or sha256."""
        return pq.read_table(self.root / TABLE, columns=[column])[column].take(self.rows).to_pylist()

    def take(self, rows: np.ndarray, label: np.ndarray, classes: tuple[str, ...]) -> Self:
        """The samples `rows` [M], with labels [M] among `classes`, over the same files."""
        columns = {name: getattr(self, name)[rows] for name in NUMERIC} | {"rows": self.rows[rows], "label": label}
        counts = tuple(np.bincount(label[label >= 0], minlength=len(classes)).tolist())
        info = dataclasses.replace(self.info, classes=classes, counts=counts, samples=len(rows))
        return dataclasses.replace(self, info=info, **columns)

    def path(self, row: int) -> Path:
        """The file of a sample in a set built with `--format folder`."""
        return self.root / "folder" / f"{self.keys[row]}.jpg"

    def tars(self) -> list[Path]:
        """Tar files in shard order."""
        return [self.root / f["file"] for f in self.info.files if f["file"].endswith(".tar")]

    def beton_path(self) -> Path:
        """The .beton file."""
        return next(self.root / f["file"] for f in self.info.files if f["file"].endswith(".beton"))

    def require_labels(self, purpose: str) -> None:
        """UserError unless every sample has a label, which `purpose` cannot do without."""
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
    """Write both files, `dataset.json` last, each under a partial name first; the rows are of SCHEMA."""
    assert table.schema == SCHEMA
    assert table.num_rows == info.samples
    with atomic(root / TABLE) as file:
        pq.write_table(table, file, compression="zstd", use_dictionary=False, row_group_size=1 << 20)
    info = dataclasses.replace(info, manifest=digest_of(root / TABLE))
    with atomic(root / PAGE, "w") as file:
        file.write(json.dumps(dataclasses.asdict(info), indent=1) + "\n")
    return Manifest.open(root)


def _read_info(root: Path) -> DatasetInfo:
    page = root / PAGE
    if not page.exists():
        state = "is not a complete data set (an unfinished build?)" if root.is_dir() else "does not exist"
        raise UserError(f"{root} {state}: `python tools/build_shards.py --out {root}` builds it")
    try:
        fields = json.loads(page.read_text())
        if fields["version"] != VERSION:
            raise UserError(f"{page} has version {fields['version']}, this code reads {VERSION}: rebuild the set")
        lists = {k: tuple(fields[k]) for k in ("classes", "counts", "formats", "files")}
        return DatasetInfo(**{**fields, **lists})
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{page} is damaged ({error}): rebuild the set") from error


def newest(folder: Path, split: str = "train") -> Path:
    """The complete set of `split` under `folder` that was finished last."""
    pages = sorted(folder.glob(f"*/{PAGE}"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
    for page in pages:
        if _read_info(page.parent).split == split:
            return page.parent
    raise UserError(
        f"no complete {split} set under {folder}: `python tools/build_shards.py --split {split}` builds one, "
        f"or name one with --{'data' if split == 'train' else split}"
    )
