"""A data set, a reader, a loader by name. The tables are all the registry there is; what they name is imported on
use."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..augment.spec import Views
from ..shards.errors import UserError, choose
from ..shards.files import PAGE
from ..shards.manifest import Manifest
from .batch import SampleReader
from .loader import Crops, ViewLoader
from .plan.order import Plan

if TYPE_CHECKING:
    from .dali.loader import DaliLoader

READERS = {
    "folder": ".readers.folder",
    "webdataset": ".readers.webdataset",
    "webdataset-stream": ".readers.sequential",
    "ffcv": ".readers.ffcv",
}
LOADERS = (*READERS, "dali")
CACHE = Path("data/cache")


def open_set(where: str, split: str = "train", cache: Path = CACHE, limit: int = 100 * 10**9) -> Manifest:
    """A built set, local or behind a URL (`limit` bytes of its tars are kept in `cache`), or class folders of images
    that nobody built. UserError when it is none of these."""
    if "://" in where:
        from .readers.remote import open_remote

        return open_remote(where, cache, limit)
    folder = Path(where)
    if folder.is_dir() and not (folder / PAGE).exists() and _has_classes(folder, split):
        from ..shards.plain import plain

        return plain(folder, split)
    return Manifest.open(folder)


def _has_classes(folder: Path, split: str) -> bool:
    """Folders of class folders, not what an unfinished build leaves."""
    half = folder / split
    return half.is_dir() or not any((folder / name).exists() for name in ("building", "folder", "manifest.parquet"))


def open_reader(name: str, manifest: Manifest, source: str = "") -> SampleReader:
    """The reader `name` of a data set; `source` is the folder that a `--keep` set was built from, for the folder
    reader. UserError for an unknown name, a missing package or a format not built."""
    if manifest.info.kind == "plain" and name != "folder":
        raise UserError(
            f"{manifest.root} is a folder of images, not a built set: read it with --loader folder, "
            f"or build it with `python tools/build_shards.py --source {manifest.root}`"
        )
    choose("loader", name, READERS)
    opener = importlib.import_module(READERS[name], __package__).open_reader
    return opener(manifest, source) if name == "folder" else opener(manifest)


def open_loader(
    name: str,
    manifest: Manifest,
    plan: Plan,
    views: Views,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    threads: int = 0,
    crops: Crops = "auto",
    skip: bool = False,
    source: str = "",
) -> "ViewLoader | DaliLoader":
    """The loader `name`: a `ViewLoader` over its reader, or DALI over the first reader there is. Words as
    ViewLoader's."""
    choose("loader", name, LOADERS)
    if name == "webdataset-stream" and skip:
        raise UserError(
            "--loader webdataset-stream reads what its order asks for and nothing else, so no other image can take "
            "a damaged one's place: choose --loader webdataset with --on-error skip"
        )
    if name != "dali":
        reader = open_reader(name, manifest, source)
        return ViewLoader(
            manifest, plan, views, reader, device=device, dtype=dtype, threads=threads, crops=crops, skip=skip
        )
    from .dali.loader import DaliLoader

    reader = open_reader(next((d for d in READERS if d in manifest.info.formats), "dali"), manifest, source)
    return DaliLoader(manifest, plan, views, reader, device=device, dtype=dtype, threads=threads, skip=skip)
