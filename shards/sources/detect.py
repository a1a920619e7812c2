"""The kind of source that a path is, by its name or by what the folder holds."""

from ..errors import UserError, choose
from .flat import flat
from .folder_kind import folder_kind, pass_over_images
from .ilsvrc import ilsvrc
from .imagefolder import imagefolder
from .listing import listing, listing_beside
from .packed import TARS, packed_kind
from .parquet import parquet
from .source import Source
from .split import LAYOUT
from .storage import opening, storage
from .tsv import tsv
from .wanted import ANY, NONE, Wanted
from .webdataset import webdataset

KINDS = ("imagefolder", "flat", "ilsvrc", "parquet", "tsv", "webdataset", "list")
LISTS = (".txt", ".csv", ".jsonl")
OTHERS = (
    f"a folder with {TARS['train']} and {TARS['val']}, {{train,val}}-*.parquet, train.tsv and test.tsv, tars of "
    "WebDataset, or images alone; one .parquet, .tsv or .tar; or a list.txt of lines `path label`, a .csv or .jsonl"
)


def open_source(
    where: str, split: str, kind: str | None = None, root: str | None = None, wanted: Wanted = ANY
) -> Source:
    """The split `train` or `val` of the source `where`, of the given kind or the one that `kind_of` finds.

    `root`: the folder of a list's images; `wanted`: what to take of tars or tables that hold more than one image."""
    named = kind
    kind = choose("kind of source", kind, KINDS) if kind else kind_of(where, split)
    if root is not None and kind != "list":
        raise UserError(f"--root says where the images of a list are, but {where} is of kind {kind}: leave it out")
    if not named and kind in ("flat", "imagefolder") and (found := listing_beside(where, split, wanted)):
        return found
    if kind not in ("parquet", "webdataset"):
        wanted.only(kind, *["label"] * (kind == "list" or (kind == "flat" and wanted.label == NONE)))
    match kind:
        case "list":
            return listing(where, split, root, wanted)
        case "flat":
            return flat(where, split)
        case "imagefolder":
            return imagefolder(where, split)
        case "ilsvrc":
            source = ilsvrc(where, split)
        case "parquet":
            source = parquet(where, split, wanted)
        case "tsv":
            source = tsv(where, split)
        case _:
            source = webdataset(where, split, wanted)
    if packed_kind(where) is None:
        with opening(where):
            pass_over_images(source, storage(where))
    return source


def kind_of(where: str, split: str) -> str:
    """One of KINDS; UserError when `where` is no source."""
    name = where.rstrip("/").rpartition("/")[2]
    if kind := "list" if name.lower().endswith(LISTS) else packed_kind(name):
        return kind
    files = storage(where)
    layout = f"a source is laid out as {LAYOUT.format(root=where)}, or it is {OTHERS}"
    with opening(where):
        try:
            if kind := folder_kind(files, split):
                return kind
        except NotADirectoryError as error:
            raise UserError(
                f"{where} is a file of no kind that is read: unpack it if it is an archive; {layout}"
            ) from error
        except FileNotFoundError as error:
            raise UserError(
                f"{files.show(split)} does not exist: {layout}; name it with --source or $IMAGENET"
            ) from error
    raise UserError(f"{files.show()} holds no images: {layout}")
