"""Builds a complete data set from a source; `build` reads top to bottom.

Storage order is a keyed shuffle, so every tar mixes the classes. The work is split into units, one planned tar each,
and units into blocks. One worker encodes a block, and this process alone writes, in order: the bytes on disk do not
depend on the number of workers, nor on how often a build was interrupted and resumed. In memory are at most
(workers + 3) blocks of 64 images or 16 MB, the rows of one unit, a path and a few numbers for each image of the
source, and 64 bytes for each image of the .beton. On a cluster or to an object store, units are built apart (units.py),
to the same bytes.
"""

import logging
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path

from ..encoding.shrink import warm_up
from ..engine import cores, in_order
from ..errors import plural
from ..files import PAGE
from ..manifest import Manifest, write
from ..progress import Bar
from ..subsets.options import SubsetOptions
from . import records
from .blocks import BlockEncoder
from .folder import BUILDING, build_folder
from .job import Job, all_damaged, damaged
from .layout import Unit
from .options import BuildOptions
from .units import build_units
from .writer import SetWriter

LOG = logging.getLogger(__name__)


def build(options: BuildOptions, choice: SubsetOptions | None = None) -> Manifest:
    """Build the set that `options` and `choice` describe, or continue it where an earlier run was interrupted.

    UserError for anything that the user can fix.
    """
    job = Job.of(options, choice or SubsetOptions())
    if options.engine == "ray" or "://" in str(options.out):
        return build_units(job)
    out = Path(job.out)
    with build_folder(out, job.given()) as building:
        if (out / PAGE).exists():  # an earlier run was killed after it wrote its last file
            return Manifest.open(out, max_pixels=options.max_pixels)
        source = job.source
        if source.stage:
            source = source.stage(source, building, job.part.rows)
        units = job.units(source)
        with ExitStack() as stack:
            done, stale = records.read(building, [unit.digest() for unit in units])
            if stale:
                changed = "the source, a shard or its record has changed"
                LOG.warning(f"{changed}: making {plural(stale, 'finished shard')} again")
            writer = SetWriter(out, job.name, options.format, sum(map(len, units)), done, source.fields, stack)
            _write_units(writer, units, job.encoder(source, building), options)
            tables, files = writer.finish()
        return write(out, job.info(writer.records, files), tables, options.max_pixels)


def _write_units(writer: SetWriter, units: list[Unit], encoder: BlockEncoder, options: BuildOptions) -> None:
    """Write every unit that is not finished yet, in order; UserError when an image is damaged, or every image is."""
    done = len(writer.records)
    ready, todo = sum(map(len, units[:done])), units[done:]
    if ready:
        LOG.info(f"an earlier run finished {plural(ready, 'image')}")
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
        Bar(total, "img", done=ready) as bar,
    ):
        for unit, own in groupby(blocks, key=lambda pair: pair[0]):
            with writer.unit(unit.digest()) as unit_writer:
                for encoded in islice(results, len(list(own))):
                    if encoded.skipped and options.on_error == "fail":
                        raise damaged(**encoded.skipped[0])
                    unit_writer.add(encoded)
                    bar.update(len(encoded.rows["uid"]) + len(encoded.skipped))
                    written += sum(encoded.rows["bytes"])
                    speed = written / 1e6 / max(time.monotonic() - start, 1e-3)
                    bar.set_postfix_str(f"{speed:.0f} MB/s", refresh=False)
    if not any(record.samples for record in writer.records):
        cause = writer.records[0].skipped[0]["cause"]
        records.forget(writer.out / BUILDING)  # a later run has nothing to continue from
        raise all_damaged(total, cause)
