"""What kind of source a path is, seen from its name or from what lies in it."""

import os

from ..errors import UserError, choose
from ..files import PAGE
from .flat import flat
from .ilsvrc import TARS, ilsvrc
from .imagefolder import LAYOUT, imagefolder, pictures
from .listing import listing
from .parquet import parquet
from .source import Source
from .storage import Storage, opening, storage
from .tsv import NAMES, tsv
from .webdataset import webdataset

KINDS = ("imagefolder", "flat", "ilsvrc", "parquet", "tsv", "webdataset", "list")
OTHERS = (
    f"a folder with {TARS['train']} and {TARS['val']}, {{train,val}}-*.parquet, train.tsv and test.tsv, tars of "
    "WebDataset, or images alone; one .parquet, .tsv or .tar; or a list.txt of lines `path label`"
)


def open_source(where: str, split: str, kind: str | None = None, root: str | None = None) -> Source:
    """The split `train` or `val` of whatever `where` is; `kind` says it, otherwise it is found out. `root` is where the
    images of a list are."""
    found = choose("kind of source", kind, KINDS) if kind else kind_of(where, split)
    if root is not None and found != "list":
        raise UserError(f"--root says where the images of a list are, but {where} is of kind {found}: leave it out")
    match found:
        case "list":
            return listing(where, split, root)
        case "ilsvrc":
            return ilsvrc(where, split)
        case "parquet":
            return parquet(where, split)
        case "tsv":
            return tsv(where, split)
        case "webdataset":
            return webdataset(where, split)
        case "flat":
            return flat(where, split)
        case _:
            return imagefolder(where, split)


def kind_of(where: str, split: str) -> str:
    """One of KINDS; UserError when nothing there is a source."""
    name = where.rstrip("/").rpartition("/")[2]
    suffix = os.path.splitext(name)[1].lower()
    if name in TARS.values():
        return "ilsvrc"
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
    here = files.entries()
    dirs = {e.name for e in here if e.is_dir}
    halves = {name for name in ("data", "train", "val", "validation", "test") if name in dirs}
    names = {e.name for e in here} | {e.name for half in halves for e in files.entries(half) if not e.is_dir}
    suffixes = {os.path.splitext(name)[1].lower() for name in names}
    if names & set(TARS.values()):
        return "ilsvrc"
    if ".parquet" in suffixes and PAGE not in names:  # a built set has a table too, its manifest
        return "parquet"
    if names & {name for some in NAMES.values() for name in some}:
        return "tsv"
    if PAGE in names or ".tar" in suffixes:
        return "webdataset"
    base = split if split in dirs else ""
    inside = files.entries(base)
    if not any(e.is_dir and not e.name.startswith(".") for e in inside) and pictures(files, base):
        return "flat"
    if any(e.is_dir for e in here):
        return "imagefolder"
    layout = LAYOUT.format(root=files.show())
    raise UserError(f"{files.show()} holds no images: a source is laid out as {layout}, or it is {OTHERS}")
