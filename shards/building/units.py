"""A build whose units are made apart, by any processes of any machines: on a cluster, or to an object store.

A unit is one tar, its index, and its record, which comes last and says that the others are there; records of any units
count when an interrupted build continues. At the end this process, the driver, makes of tars and records what holds all
images (assemble.py), to the same bytes as a build to a local folder. In its memory are a path and a few numbers for
each image of the source, those of (workers + 1) units once more, and what assemble.py states; on an object store its
scratch, a folder in $TMPDIR, holds the records, and then the .beton and one tar, or the copied images of a parquet
source. Measured: 310 MiB with two tars of 256 MB and the .beton of both. The bounds of a worker are stated in task.py.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import overload

from ..columns import FILE
from ..encoding.shrink import warm_up
from ..engine import THREADS, cores, unordered
from ..errors import UserError, plural
from ..files import PAGE
from ..info import JSON
from ..manifest import Manifest
from ..progress import Bar
from ..table import TABLE
from . import records
from .finish import finish
from .folder import BUILDING, build_folder
from .job import Job, all_damaged, versions
from .layout import Unit
from .object_store import Store
from .records import Record
from .staged import staged
from .store import build_store
from .target import Target, target
from .task import Finished, UnitTask

LOG = logging.getLogger(__name__)


def build_units(job: Job) -> Manifest:
    """Build the set, or continue it. Of a set on an object store the numbers alone can be read of the result.

    UserError for anything that the user can fix."""
    options, place = job.options, target(job.out)
    if isinstance(place, Store) and "folder" in options.format:
        raise UserError(
            f"{place.show()} would get an object for each image: leave folder out of --format, or name a local --out"
        )
    with _begun(place, job.given() | {"in_units": True}, options.no_lock) as check, place.scratch() as scratch:
        if PAGE in place.names():  # an earlier run was killed after it wrote its last file
            return _opened(place, scratch, options.max_pixels)
        source = staged(job.source, job.part.rows, place, scratch)
        units = job.units(source)
        task = UnitTask(
            place,
            job.name,
            job.encoder(source, None),
            "webdataset" in options.format,
            options.on_error == "skip",
            versions(),
        )
        done = _records(place, scratch, units, stale=True)
        _work(job, task, units, done, check)
        done = _records(place, scratch, units, stale=False)
        if missing := [number for number in range(len(units)) if number not in done]:
            raise UserError(
                f"{place.show()} has lost {plural(len(missing), 'finished shard')}, or another program wrote there: "
                "the same command makes them again"
            )
        ordered = [done[number] for number in range(len(units))]
        if not any(record.samples for record in ordered):
            for number in range(len(units)):
                place.remove(_key(number))  # a later run has nothing to continue from
            raise all_damaged(sum(map(len, units)), ordered[0].skipped[0]["cause"])
        return finish(job, ordered, sum(map(len, units)), place, scratch, check)


@contextmanager
def _begun(place: Target, given: JSON, no_lock: bool) -> Iterator[Callable[[bool], None]]:
    """The place of a build in progress; gives a call that is a UserError once another build has it."""
    if isinstance(place, Store):
        with build_store(place, given, no_lock) as check:
            yield check
    else:
        with build_folder(place.root, given):
            yield lambda sure: None


def _opened(place: Target, scratch: Path, max_pixels: int) -> Manifest:
    """The complete set at a place."""
    if not isinstance(place, Store):
        return Manifest.open(place.root, max_pixels=max_pixels)
    for name in (TABLE, FILE, PAGE):
        place.fetch(name, scratch)
    return dataclasses.replace(Manifest.open(scratch, max_pixels=max_pixels), url=place.url)


def _key(number: int) -> str:
    return f"{BUILDING}/{number:06d}.parquet"


def _records(place: Target, scratch: Path, units: Sequence[Unit], stale: bool) -> dict[int, Record]:
    """The records of finished units, by number. With `stale`, those of other units, of a changed source or without
    their tar, are deleted: they would count again if the source changed back."""
    building = place.names(BUILDING)
    names = place.names() | {f"{BUILDING}/{name}": size for name, size in building.items()}
    keys = [name for name in building if name.endswith(".parquet")]
    with ThreadPoolExecutor(THREADS) as pool:
        absent = [key for key in keys if not (scratch / key).exists()]
        fetched = pool.map(lambda key: place.fetch(f"{BUILDING}/{key}", scratch), absent)
        with Bar(len(absent), "shard", "records", quiet=not absent) as bar:
            for _ in fetched:
                bar.update()
    done = records.read_any(scratch, [unit.digest() for unit in units], names)
    sound = {_key(number).rpartition("/")[2] for number in done}
    others = [key for key in keys if key not in sound] if stale else []
    for key in others:
        (scratch / key).unlink()
        place.remove(f"{BUILDING}/{key}")
    if others:
        changed = "the source, a shard or its record has changed"
        LOG.warning(f"{changed}: making {plural(len(others), 'finished shard')} again")
    return done


def _work(job: Job, task: UnitTask, units: list[Unit], done: dict[int, Record], check: Callable[[bool], None]) -> None:
    """Build the units that are not done, in any order."""
    todo = _Apart(units, [number for number in range(len(units)) if number not in done])
    ready, total = sum(len(units[number]) for number in done), sum(map(len, units))
    if ready:
        LOG.info(f"an earlier run finished {plural(ready, 'image')}")
    if todo and not job.options.keep:
        warm_up()
    written, start = 0, time.monotonic()
    with (
        Bar(total, "img", done=ready) as bar,
        closing(_results(job, task, todo, bar.set_description)) as results,
    ):
        for unit in results:
            check(False)
            written += unit.bytes
            bar.update(unit.images)
            bar.set_postfix_str(f"{written / 1e6 / max(time.monotonic() - start, 1e-3):.0f} MB/s", refresh=False)


def _results(
    job: Job, task: UnitTask, todo: "_Apart", show: Callable[[str], object]
) -> Generator[Finished, None, None]:
    options = job.options
    if options.engine == "ray" and todo:
        from .cluster import on_ray  # needs the extra

        return on_ray(task, todo, options.address, options.workers, show, lambda item: f"shard {item[0]}")
    return unordered(task, todo, max(1, min(options.workers or cores(), len(todo))))


class _Apart(Sequence[tuple[int, Unit]]):
    """Units with their numbers, each made fit to be sent when it is asked for."""

    def __init__(self, units: list[Unit], numbers: list[int]) -> None:
        self.units, self.numbers = units, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, at: int) -> tuple[int, Unit]: ...
    @overload
    def __getitem__(self, at: slice) -> "_Apart": ...
    def __getitem__(self, at: int | slice) -> "tuple[int, Unit] | _Apart":
        if isinstance(at, slice):
            return _Apart(self.units, self.numbers[at])
        return self.numbers[at], self.units[self.numbers[at]].alone()
