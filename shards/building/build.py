"""A source in, a complete data set out: `build` reads top to bottom.

Storage order is a keyed shuffle, so every tar mixes the classes. The work is cut into units, one planned tar each, and
those into blocks; each block is encoded by one worker, and this process alone writes, in order: the bytes on disk
cannot depend on the worker count, nor on how often a build was interrupted and begun again. In memory are at most
(workers + 3) blocks of 64 images or 16 MB, a path and a few numbers for each image of the source, and 24 bytes for
each of the .beton.
"""

import os
import sys
import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from itertools import groupby, islice
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from tqdm import tqdm

from ..encoding.encode import Encoding
from ..engine import cores, in_order
from ..errors import UserError
from ..files import BUILDING, PAGE, workplace
from ..manifest import JSON, DatasetInfo, Manifest, write
from ..sources.detect import open_source
from ..subsets.choose import split_of, subset
from ..subsets.options import SubsetOptions
from . import records
from .blocks import BlockEncoder
from .layout import Unit, bytes_of, layout
from .records import Record
from .writer import SetWriter


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
    root: Annotated[str, "where the images of a list file lie (the folder of the list)"] = ""
    out: Annotated[Path | None, "new folder for the set (data/shards/SOURCE-SUBSET-SPLIT)"] = None
    split: Annotated[Literal["train", "val"] | None, "which half of the source (train, or the subset's)"] = None
    format: Annotated[tuple[Literal["webdataset", "ffcv", "folder"], ...], "what to write"] = ("webdataset", "ffcv")
    max_side: Annotated[int, "shrink the longer side to this many px"] = 400
    short_side: Annotated[int, "shrink the shorter side to this many px instead"] = 0
    quality: Annotated[int, "of the JPEGs, 1-100"] = 90
    keep: Annotated[bool, "store plain JPEGs as they are, at full size"] = False
    check: Annotated[Literal["headers", "decode"], "with --keep: look at headers and end marker, or decode all"] = (
        "headers"
    )
    raw_fraction: Annotated[float, "of the images, whose pixels the .beton holds decoded", 0.0] = 0.0
    on_error: Annotated[Literal["fail", "skip"], "what to do about a damaged image"] = "fail"
    shard_size: Annotated[str, "about how large a tar becomes"] = "256MB"
    workers: Annotated[int, "processes; 0 = one a core", 0] = 0
    seed: Annotated[int, "of the storage order and of --draw-subset"] = 0


FREE = {"out", "workers", "on_error", "source", "root"}  # options that do not decide the bytes of a finished unit


def build(options: BuildOptions, choice: SubsetOptions | None = None) -> Manifest:
    """Build the set that `options` and `choice` describe, or go on with it where an earlier run was interrupted;
    UserError for anything a person can mend."""
    choice = choice or SubsetOptions()
    encoding = _encoding(options)
    where = str(options.source or os.environ.get("IMAGENET") or "data/imagenet")
    reading, split = split_of(choice.subset, options.split)
    source = open_source(where, reading, options.source_type or None, options.root or None)
    part = subset(source, choice, options.seed)
    name = f"{source.name}-{part.origin['name']}-{split}"
    out = options.out or Path("data/shards") / name
    recipe = {f.name: getattr(options, f.name) for f in fields(options) if f.name not in FREE}
    with workplace(out, {**recipe, **asdict(choice), **_versions()}) as building:
        if (out / PAGE).exists():  # killed between its last file and its last breath
            return Manifest.open(out)
        if source.stage:
            source = source.stage(source, building, part.rows)
        units = layout(source, part, encoding, bytes_of(options.shard_size), options.seed)
        raw = options.raw_fraction if "ffcv" in options.format else 0
        encoder = BlockEncoder(source.reader, encoding, raw, options.seed, building)
        with ExitStack() as stack:
            done, stale = records.read(building, [unit.digest() for unit in units])
            if stale:
                print(f"the source or a shard has changed: {stale} finished shards are made again", file=sys.stderr)
            writer = SetWriter(out, name, options.format, sum(map(len, units)), done, stack)
            _fill(writer, units, encoder, options)
            table, files = writer.finish()
        info = DatasetInfo(
            name=name,
            split=split,
            subset={**part.origin, "split": reading},
            classes=part.classes,
            counts=tuple(np.bincount(table["label"].to_numpy(), minlength=len(part.classes)).tolist())
            if part.classes
            else (),
            samples=len(table),
            encoding=_described(options),
            formats=options.format,
            files=files,
            report=_report(writer.records, part.missing, encoding),
            tool=f"viewstream {version('viewstream')}",
        )
        return write(out, info, table)


def _encoding(options: BuildOptions) -> Encoding:
    if not options.format:
        raise UserError("--format names nothing to write: give webdataset, ffcv or folder, or several with commas")
    if not 1 <= options.quality <= 100:
        raise UserError(f"--quality {options.quality} is not a JPEG quality: take 1 to 100, 90 is usual")
    if min(options.max_side, options.short_side + 1) < 1:
        raise UserError("--max-side and --short-side leave no pixels: take 400 or 256, or --keep for full size")
    if not 0 <= options.raw_fraction <= 1:
        raise UserError(f"--raw-fraction {options.raw_fraction} is no part of a whole: take 0 to 1")
    max_side = 0 if options.short_side else options.max_side
    return Encoding(options.keep, max_side, options.short_side, options.quality, options.check)


def _described(options: BuildOptions) -> JSON:
    """How images were stored, for `dataset.json`: what applied, nothing else."""
    page: JSON = {"quality": options.quality}
    if options.keep:
        page |= {"keep": True, "check": options.check}
    else:
        page |= {"short_side": options.short_side} if options.short_side else {"max_side": options.max_side}
    return page | ({"raw_fraction": options.raw_fraction, "seed": options.seed} if options.raw_fraction else {})


def _versions() -> JSON:
    """Another encoder may write other bytes: shards of both are not mixed."""
    return {name: version(name) for name in ("viewstream", "simplejpeg", "pillow")}


def _fill(writer: SetWriter, units: list[Unit], encoder: BlockEncoder, options: BuildOptions) -> None:
    """Store every unit that is not finished yet, in order."""
    done = len(writer.records)
    ready, todo = sum(map(len, units[:done])), units[done:]
    if ready:
        print(f"{ready:,} images are there from an earlier run")
    blocks = [(unit, block) for unit in todo for block in unit.blocks()]
    workers = max(1, min(options.workers or cores(), len(blocks)))
    work = (unit.samples(block) for unit, block in blocks)
    total, written, begun = ready + sum(map(len, todo)), 0, time.monotonic()
    if workers == 1:
        encoder = replace(encoder, spool=None)
    with (
        closing(in_order(encoder, work, workers)) as results,
        tqdm(total=total, initial=ready, unit="img", disable=None) as bar,
    ):
        for unit, mine in groupby(blocks, key=lambda pair: pair[0]):
            with writer.unit(unit.digest()) as record:
                for encoded in islice(results, len(list(mine))):
                    if encoded.skipped and options.on_error == "fail":
                        raise _damaged(encoded.skipped[0])
                    writer.add(record, encoded)
                    bar.update(len(encoded.rows["uid"]) + len(encoded.skipped))
                    written += sum(encoded.rows["bytes"])
                    bar.set_postfix_str(
                        f"{written / 1e6 / max(time.monotonic() - begun, 1e-3):.0f} MB/s", refresh=False
                    )
    if not any(len(record.rows) for record in writer.records):
        cause = writer.records[0].skipped[0]["cause"]
        records.forget(writer.out / BUILDING)  # nothing to go on from
        raise UserError(f"all {total} images are damaged, the first by: {cause}: is it the right source?")


def _damaged(one: JSON) -> UserError:
    return UserError(
        f"{one['source']} is damaged: {one['cause']}; mend or remove it, or go on without: --on-error skip"
    )


def _report(done: list[Record], missing: list[str], encoding: Encoding) -> JSON:
    """What was normalized, suspected and skipped, and how closely it was looked at."""
    kinds: Counter[str] = Counter()
    for record in done:
        kinds.update(record.kinds)
    report: JSON = {
        "check": "decode" if encoding.thorough() else "headers",
        "normalised": dict(sorted(kinds.items())),
        "suspect": [row for record in done for row in record.suspect],
        "skipped": [row for record in done for row in record.skipped],
    }
    return report | ({"missing": missing} if missing else {})
