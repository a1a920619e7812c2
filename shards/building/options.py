"""A build's options, and the encoding that they ask for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from ..encoding.encode import Encoding
from ..errors import UserError
from ..info import JSON
from ..sources.wanted import Wanted
from ..unpack import MAX_PIXELS

# Options that do not decide the bytes of a finished unit: an interrupted build may continue with other ones.
FREE = {"out", "workers", "on_error", "source", "root", "strict", "engine", "address", "no_lock"}


@dataclass(frozen=True)
class BuildOptions:
    """Which images, how stored, and where"""

    source: Annotated[
        str | Path,
        "folder, archive, list file or URL of the images ($IMAGENET, else data/imagenet); its kind is detected",
    ] = ""
    source_type: Annotated[
        str, "imagefolder, flat, ilsvrc, parquet, tsv, webdataset or list, if not detected right"
    ] = ""
    root: Annotated[str, "folder of the images of a list file (the folder of the list)"] = ""
    member: Annotated[str, "tars: suffix of the images, as input.jpg"] = ""
    image_column: Annotated[str, "parquet: column of the images, if not detected right"] = ""
    label_column: Annotated[
        str, "parquet and lists: column of the labels; tars: a suffix or a field of the .json; none: leave labels out"
    ] = ""
    fields: Annotated[tuple[str, ...], "tars: suffixes of further members to keep in the tars, as txt,mask.png"] = ()
    out: Annotated[
        str | Path | None,
        "new folder for the set (data/shards/SOURCE-SUBSET-SPLIT), or the URL of one on an object store",
    ] = None
    split: Annotated[Literal["train", "val"] | None, "which half of the source (train, or the half of the subset)"] = (
        None
    )
    format: Annotated[tuple[Literal["webdataset", "ffcv", "folder"], ...], "what to write"] = ("webdataset", "ffcv")
    max_side: Annotated[int, "shrink the longer side to this many px"] = 400
    short_side: Annotated[int, "shrink the shorter side to this many px instead"] = 0
    quality: Annotated[int, "JPEG quality, 1-100"] = 90
    subsampling: Annotated[
        Literal["420", "444"], "resolution of the JPEG's colors: half, or full; 444 with --quality 100 for small PNGs"
    ] = "420"
    keep: Annotated[bool, "store plain JPEGs as they are, at full size"] = False
    check: Annotated[Literal["headers", "decode"], "with --keep: check headers and end marker, or decode all"] = (
        "headers"
    )
    raw_fraction: Annotated[float, "share of the images whose pixels the .beton holds decoded", 0.0] = 0.0
    on_error: Annotated[Literal["fail", "skip"], "what to do about a damaged image"] = "fail"
    strict: Annotated[bool, "refuse a source that holds anything a build leaves out"] = False
    shard_size: Annotated[str, "approximate size of a tar"] = "256MB"
    workers: Annotated[int, "processes; 0 = one per core", 0] = 0
    engine: Annotated[Literal["local", "ray"], "where the processes run: on this machine, or on a Ray cluster"] = (
        "local"
    )
    address: Annotated[
        str, "with --engine ray: HOST:PORT of the cluster; auto: the one of this machine; empty: starts one here alone"
    ] = "auto"
    no_lock: Annotated[bool, "build to an object store that cannot lock: see that no second build writes there"] = False
    seed: Annotated[int, "seed of the storage order and of --draw-subset"] = 0
    max_pixels: Annotated[int, "largest image that is read, px: decoded, it takes three bytes for each", 1] = MAX_PIXELS


def encoding_of(options: BuildOptions) -> Encoding:
    """How the images are to be stored; UserError for options that cannot work."""
    if not options.format:
        raise UserError("--format names nothing to write: give webdataset, ffcv or folder, or several with commas")
    if options.fields and "webdataset" not in options.format:
        raise UserError("--fields go into tars, other formats hold image and label only: add webdataset to --format")
    if not 1 <= options.quality <= 100:
        raise UserError(f"--quality {options.quality} is not a JPEG quality: take 1 to 100, 90 is usual")
    if min(options.max_side, options.short_side + 1) < 1:
        raise UserError("--max-side and --short-side leave no pixels: take 400 or 256, or --keep for full size")
    if not 0 <= options.raw_fraction <= 1:
        raise UserError(f"--raw-fraction {options.raw_fraction} is not a share: take 0 to 1")
    max_side = 0 if options.short_side else options.max_side
    sides = max_side, options.short_side
    return Encoding(
        options.keep, *sides, options.quality, options.check, options.subsampling, max_pixels=options.max_pixels
    )


def described(options: BuildOptions) -> JSON:
    """How the images were stored, for `dataset.json`: only the options that had an effect."""
    page: JSON = {"quality": options.quality}
    if options.subsampling != BuildOptions.subsampling:
        page["subsampling"] = options.subsampling
    if options.keep:
        page |= {"keep": True, "check": options.check}
    else:
        page |= {"short_side": options.short_side} if options.short_side else {"max_side": options.max_side}
    page |= {name: value for name in ("member", "image_column") if (value := getattr(options, name))}
    return page | ({"raw_fraction": options.raw_fraction, "seed": options.seed} if options.raw_fraction else {})


def wanted_of(options: BuildOptions) -> Wanted:
    """What to take of samples that hold more than one image and one label."""
    return Wanted(options.member, options.image_column, options.label_column, options.fields)
