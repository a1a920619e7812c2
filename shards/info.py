"""`dataset.json`: what holds for a whole data set. It is written last and atomically: its presence means complete."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .errors import UserError, command
from .files import PAGE, atomic
from .names import open_file, safe

VERSION = 1
JSON = dict[str, Any]


@cache
def _tool() -> str:
    return f"viewstream {version('viewstream')}"


@dataclass(frozen=True)
class DatasetInfo:
    """The content of `dataset.json`."""

    name: str
    split: str  # train or val
    subset: JSON  # name, and where its list came from
    classes: tuple[str, ...]
    counts: tuple[int, ...]  # samples of each class
    samples: int
    encoding: JSON  # keep and check, or max_side or short_side; quality; raw_fraction; or indexed
    formats: tuple[str, ...]  # webdataset, ffcv, folder; ("plain",) for images without a build
    files: tuple[JSON, ...]  # file, bytes, samples, digest (digest.py) of each tar and .beton, tars in shard order
    report: JSON  # what the build normalized or skipped
    tool: str = field(default_factory=_tool)
    manifest: str = ""  # sha256 of manifest.parquet
    version: int = VERSION
    identity: str = ""  # digest of images, labels and classes (identity.py); older sets lack it

    @property
    def fields(self) -> tuple[str, ...]:
        """Suffixes of the members that the tars hold besides image and label, as far as the manifest knows them."""
        return tuple(self.encoding.get("fields", ()))

    @property
    def kind(self) -> Literal["encoded", "kept", "indexed", "plain"]:
        """How the images got their bytes: encoded by a build, kept by a build (`--keep`), in shards of other writers
        that were indexed, or without a build."""
        if "plain" in self.formats:
            return "plain"
        if self.encoding.get("indexed"):
            return "indexed"
        return "kept" if self.encoding.get("keep") else "encoded"


def class_counts(label: np.ndarray, classes: Sequence[str]) -> tuple[int, ...]:
    """[N] labels -> samples of each class, [C]; unlabeled samples (-1) belong to none."""
    return tuple(np.bincount(label[label >= 0], minlength=len(classes)).tolist())


def read_info(root: Path) -> DatasetInfo:
    """Read the `dataset.json` of folder `root`; UserError when it is absent, damaged or of another version."""
    page = root / PAGE
    if not page.exists():
        state = "is not a complete data set (an unfinished build?)" if root.is_dir() else "does not exist"
        raise UserError(f"{root} {state}: `{command('python tools/build_shards.py', '--out', root)}` builds it")
    try:
        with open_file(page) as file:
            fields = json.loads(file.read())
        if fields["version"] != VERSION:
            remedy = "read it with the version of viewstream that wrote it"
            raise UserError(f"{page} has version {fields['version']}, this code reads {VERSION}: {remedy}")
        lists = {k: tuple(fields[k]) for k in ("classes", "counts", "formats", "files")}
        info = DatasetInfo(**{**fields, **lists, "identity": fields["subset"].pop("identity", "")})
        _check_names(info, root)
        return info
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{page} is damaged or cannot be read ({error}): rebuild the set") from error


def _check_names(info: DatasetInfo, root: Path) -> None:
    """UserError for a file that is not in folder `root`, or a name of the set that names no file there."""
    for line in info.files:
        if not safe(line["file"], root, "set").endswith((".tar", ".beton")):
            raise ValueError(f"{line['file']!r} is neither a tar nor a .beton")
    if "/" in safe(f"{info.name}.wids.json", root, "set"):
        raise ValueError(f"{info.name!r} is no name of a set")


def write_info(root: Path, info: DatasetInfo) -> None:
    """Write the `dataset.json` of folder `root`.

    The identity goes into `subset`, because earlier readers of this version refuse a key that they do not know."""
    page = asdict(info)
    page["subset"]["identity"] = page.pop("identity")
    with atomic(root / PAGE, "w") as file:
        file.write(json.dumps(page, indent=1) + "\n")


def newest(folder: Path, split: str = "train") -> Path:
    """The complete set of `split` under `folder` that was finished last; UserError when there is none."""
    pages = sorted(folder.glob(f"*/{PAGE}"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
    for page in pages:
        if read_info(page.parent).split == split:
            return page.parent
    raise UserError(
        f"no complete {split} set under {folder}: `python tools/build_shards.py --split {split}` builds one, "
        f"or name one with --{'data' if split == 'train' else split}"
    )
