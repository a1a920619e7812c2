"""The last step of a build by units: what holds all images, names, and the description, with `dataset.json` last."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from ..files import PAGE, atomic, place
from ..formats.tar import index_path, wids_index
from ..locks import LOCK
from ..manifest import Manifest, write
from . import store
from .assemble import assemble, require_room, tables
from .folder import BUILDING, clear
from .job import Job
from .object_store import Store
from .records import Record
from .target import Target


def finish(
    job: Job, records: Sequence[Record], capacity: int, target: Target, scratch: Path, check: Callable[[bool], None]
) -> Manifest:
    """Make the set of its finished units, in the order of `records`; `capacity` is the number of their images, with
    those that were skipped. `check` is asked before the set is there."""
    formats, apart = job.options.format, isinstance(target, Store)
    out = scratch / "set" if isinstance(target, Store) else target.root
    out.mkdir(exist_ok=True)
    if apart and "ffcv" in formats:
        require_room(records, scratch, target)
    whole = assemble(job.name, formats, capacity, records, target, out, scratch) if {*formats} - {"webdataset"} else ()
    tars, kept = [], {line["file"] for line in whole}
    if "webdataset" in formats:
        records = _named(job.name, records, target)
        tars = [record.tar for record in records if record.tar]
        with atomic(out / f"{job.name}.wids.json", "w") as file:
            file.write(wids_index(job.name, tars))
        files = [Path(line["file"]) for line in tars]
        kept |= {path.name for tar in files for path in (tar, index_path(tar))} | {f"{job.name}.wids.json"}
    rows, info = tables(records, formats, bool(job.source.fields)), job.info(records, (*tars, *whole))
    if not isinstance(target, Store):
        clear(out, {out / name for name in (BUILDING, LOCK, "folder", *kept)})  # of killed builds
        return write(out, info, rows, job.options.max_pixels)
    made = write(out, info, rows, job.options.max_pixels)
    for path in sorted(out.iterdir()):
        if path.name != PAGE:
            kept.add(path.name)
            target.put(path, path.name, show=True)
    store.clear(target, keep=frozenset({f"{BUILDING}/", *kept}))
    check(True)
    target.put(out / PAGE, PAGE)
    return dataclasses.replace(made, url=target.url)


def _named(name: str, records: Sequence[Record], target: Target) -> list[Record]:
    """The records of tars that are numbered without a gap: a unit whose samples were all skipped has none, so those
    after it are renamed. Their records go first: a build that is killed here makes these units again, and takes no
    tar for another one."""
    named, moves, number = [], [], 0
    for record in records:
        file, number = f"{name}-{number:06d}.tar", number + bool(record.tar)
        if record.tar and record.tar["file"] != file:
            moves.append((record.tar["file"], file))
            held = record.path.with_suffix(".held")
            place(record.path, held)
            target.remove(f"{BUILDING}/{record.path.name}")
            record = dataclasses.replace(record, path=held, tar=record.tar | {"file": file})
        named.append(record)
    for old, new in moves:
        for end in (".tar", ".idx"):
            target.rename(str(Path(old).with_suffix(end)), str(Path(new).with_suffix(end)))
    return named
