"""The kind of source that a path is, by its name or by what the folder holds."""

import os

from ..errors import UserError, choose
from ..files import PAGE
from .flat import flat
from .ilsvrc import TARS, ilsvrc
from .imagefolder import imagefolder
from .images import files_in
from .listing import listing
from .parquet import parquet
from .source import Source
from .split import LAYOUT
from .storage import Storage, opening, storage
from .tsv import TABLES, tsv
from .wanted import ANY, Wanted
from .webdataset import COMPRESSED, webdataset

KINDS = ("imagefolder", "flat", "ilsvrc", "parquet", "tsv", "webdataset", "list")
OTHERS = (
    f"a folder with {TARS['train']} and {TARS['val']}, {{train,val}}-*.parquet, train.tsv and test.tsv, tars of "
    "WebDataset, or images alone; one .parquet, .tsv or .tar; or a list.txt of lines `path label`"
)


def open_source(
    where: str, split: str, kind: str | None = None, root: str | None = None, wanted: Wanted = ANY
) -> Source:
    """The split `train` or `val` of the source `where`, of the given kind or the one that `kind_of` finds.

    `root`: the folder of a list's images; `wanted`: what to take of tars or tables that hold more than one image."""
    kind = choose("kind of source", kind, KINDS) if kind else kind_of(where, split)
    if root is not None and kind != "list":
        raise UserError(f"--root says where the images of a list are, but {where} is of kind {kind}: leave it out")
    if kind not in ("parquet", "webdataset"):
        wanted.only(kind)
    match kind:
        case "list":
            return listing(where, split, root)
        case "ilsvrc":
            return ilsvrc(where, split)
        case "parquet":
            return parquet(where, split, wanted)
        case "tsv":
            return tsv(where, split)
        case "webdataset":
            return webdataset(where, split, wanted)
        case "flat":
            return flat(where, split)
        case _:
            return imagefolder(where, split)


def kind_of(where: str, split: str) -> str:
    """One of KINDS; UserError when `where` is no source."""
    name = where.rstrip("/").rpartition("/")[2]
    suffix = os.path.splitext(name)[1].lower()
    if name in TARS.values():
        return "ilsvrc"
    if name.lower().endswith(COMPRESSED):  # refused there, by name
        return "webdataset"
    by_suffix = {".tar": "webdataset", ".parquet": "parquet", ".tsv": "tsv", ".txt": "list"}
    if suffix in by_suffix:
        return by_suffix[suffix]
    files = storage(where)
    with opening(where):
        try:
            return _in_folder(files, split)
        except (FileNotFoundError, NotADirectoryError):
            pass
    layout = LAYOUT.format(root=where)
    missing = f"{files.show(split)} does not exist: a source is laid out as {layout}, or it is {OTHERS}"
    raise UserError(f"{missing}; name it with --source or $IMAGENET")


def _in_folder(files: Storage, split: str) -> str:
    """The kind of source in a folder."""
    entries = files.entries()
    dirs = {e.name for e in entries if e.is_dir}
    parts = {name for name in ("data", "train", "val", "validation", "test") if name in dirs}
    names = {e.name for e in entries} | {e.name for part in parts for e in files.entries(part) if not e.is_dir}
    suffixes = {os.path.splitext(name)[1].lower() for name in names}
    if names & set(TARS.values()):
        return "ilsvrc"
    if ".parquet" in suffixes and PAGE not in names:  # a built set has a .parquet too, its manifest
        return "parquet"
    if names & set(sum(TABLES.values(), ())):
        return "tsv"
    if PAGE in names or ".tar" in suffixes or any(name.lower().endswith(COMPRESSED) for name in names):
        return "webdataset"
    base = split if split in dirs else ""
    inside = files.entries(base)
    if not any(e.is_dir and not e.name.startswith(".") for e in inside) and files_in(files, base):
        return "flat"
    if dirs:
        return "imagefolder"
    layout = LAYOUT.format(root=files.show())
    raise UserError(f"{files.show()} holds no images: a source is laid out as {layout}, or it is {OTHERS}")
