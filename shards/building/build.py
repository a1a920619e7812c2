"""Builds a complete data set from a source; `build` reads top to bottom.

Storage order is a keyed shuffle, so every tar mixes the classes. The work is split into units, one planned tar each,
and units into blocks. One worker encodes a block, and this process alone writes, in order: the bytes on disk do not
depend on the number of workers, nor on how often a build was interrupted and resumed. In memory are at most
(workers + 3) blocks of 64 images or 16 MB, the rows of one unit, a path and a few numbers for each image of the
source, and 64 bytes for each image of the .beton.
"""

import os
import sys
import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import asdict, fields, replace
from importlib.metadata import version
from itertools import groupby, islice
from pathlib import Path

from tqdm import tqdm

from ..encoding.shrink import warm_up
from ..engine import cores, in_order
from ..errors import UserError
from ..files import PAGE
from ..info import JSON, DatasetInfo
from ..manifest import Manifest, write
from ..sources.detect import open_source
from ..sources.passed import PassedOver
from ..subsets.choose import split_of, subset
from ..subsets.options import SubsetOptions
from . import records
from .blocks import BlockEncoder
from .folder import BUILDING, build_folder
from .layout import Unit, bytes_of, layout
from .options import FREE, BuildOptions, described, encoding_of, wanted_of
from .records import Record
from .writer import SetWriter


def build(options: BuildOptions, choice: SubsetOptions | None = None) -> Manifest:
    """Build the set that `options` and `choice` describe, or continue it where an earlier run was interrupted.

    UserError for anything that the user can fix.
    """
    choice = choice or SubsetOptions()
    encoding = encoding_of(options)
    where = str(options.source or os.environ.get("IMAGENET") or "data/imagenet")
    reading, split = split_of(choice.subset, options.split)
    source = open_source(where, reading, options.source_type or None, options.root or None, wanted_of(options))
    if options.strict:
        source.passed.refuse(where)
    part = subset(source, choice, options.seed)
    name = f"{source.name}-{part.origin['name']}-{split}"
    out = options.out or Path("data/shards") / name
    fixed = {f.name: getattr(options, f.name) for f in fields(options) if f.name not in FREE}
    with build_folder(out, {**fixed, **asdict(choice), **_versions()}) as building:
        if (out / PAGE).exists():  # an earlier run was killed after it wrote its last file
            return Manifest.open(out, max_pixels=options.max_pixels)
        if source.stage:
            source = source.stage(source, building, part.rows)
        units = layout(source, part, encoding, bytes_of(options.shard_size), options.seed)
        raw = options.raw_fraction if "ffcv" in options.format else 0
        encoder = BlockEncoder(source.reader, encoding, raw, options.seed, source.fields, building)
        with ExitStack() as stack:
            done, stale = records.read(building, [unit.digest() for unit in units])
            if stale:
                changed = "the source, a shard or its record has changed"
                print(f"{changed}: {stale} finished shards are made again", file=sys.stderr)
            writer = SetWriter(out, name, options.format, sum(map(len, units)), done, source.fields, stack)
            _write_units(writer, units, encoder, options)
            tables, files = writer.finish()
        info = DatasetInfo(
            name=name,
            split=split,
            subset={**part.origin, "split": reading},
            classes=part.classes,
            counts=(),  # `write` counts
            samples=0,
            encoding=described(options) | ({"fields": list(source.fields)} if source.fields else {}),
            formats=options.format,
            files=files,
            report=_report(writer.records, part.missing, source.passed, "decode" if encoding.thorough() else "headers"),
        )
        return write(out, info, tables, options.max_pixels)


def _versions() -> JSON:
    """The packages that decide the bytes: shards of different versions are not mixed."""
    return {name: version(name) for name in ("viewstream", "simplejpeg", "pillow")}


def _write_units(writer: SetWriter, units: list[Unit], encoder: BlockEncoder, options: BuildOptions) -> None:
    """Write every unit that is not finished yet, in order; UserError when an image is damaged, or every image is."""
    done = len(writer.records)
    ready, todo = sum(map(len, units[:done])), units[done:]
    if ready:
        print(f"{ready:,} images were finished in an earlier run")
    blocks = [(unit, block) for unit in todo for block in unit.blocks()]
    workers = max(1, min(options.workers or cores(), len(blocks)))
    work = (unit.samples(block) for unit, block in blocks)
    total, written, start = ready + sum(map(len, todo)), 0, time.monotonic()
    if not options.keep:
        warm_up()
    if workers == 1:
        encoder = replace(encoder, spool=None)
    with (
        closing(in_order(encoder, work, workers)) as results,
        tqdm(total=total, initial=ready, unit="img", disable=None) as bar,
    ):
        for unit, own in groupby(blocks, key=lambda pair: pair[0]):
            with writer.unit(unit.digest()) as unit_writer:
                for encoded in islice(results, len(list(own))):
                    if encoded.skipped and options.on_error == "fail":
                        raise _damaged(**encoded.skipped[0])
                    unit_writer.add(encoded)
                    bar.update(len(encoded.rows["uid"]) + len(encoded.skipped))
                    written += sum(encoded.rows["bytes"])
                    speed = written / 1e6 / max(time.monotonic() - start, 1e-3)
                    bar.set_postfix_str(f"{speed:.0f} MB/s", refresh=False)
    if not any(record.samples for record in writer.records):
        cause = writer.records[0].skipped[0]["cause"]
        records.forget(writer.out / BUILDING)  # a later run has nothing to continue from
        raise UserError(f"all {total} images are damaged, the first by: {cause}: is it the right source?")


def _damaged(source: str, cause: str) -> UserError:
    return UserError(f"{source} is damaged: {cause}; mend or remove it, or build without it: --on-error skip")


def _report(done: list[Record], missing: list[str], passed: PassedOver, check: str) -> JSON:
    """What was normalized, suspected, skipped and passed over, and how closely images were checked."""
    kinds: Counter[str] = Counter()
    for record in done:
        kinds.update(record.kinds)
    report: JSON = {
        "check": check,
        "normalised": dict(sorted(kinds.items())),
        "suspect": [row for record in done for row in record.suspect],
        "skipped": [row for record in done for row in record.skipped],
    }
    if missing:
        report["missing"] = missing
    if passed:
        report["passed_over"] = passed.report()
    return report
