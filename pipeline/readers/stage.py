"""Staging: the files of a set are copied into a folder on the node's own disk, checked, before most of their reads.

The folder is the cache of remote sets (cache.py), with its names, locks and limit. A file has its name there when its
digest is that of `dataset.json`; readers (staged.py) read the source until then. Files are copied in storage order: a
shuffled order needs all of them at once.
"""

import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice
from pathlib import Path

from ...shards.care.damage import reason
from ...shards.care.spans import Spans, beton_spans_in, tar_spans
from ...shards.errors import UserError, plural
from ...shards.files import atomic, make_folder
from ...shards.info import ENDS, JSON
from ...shards.manifest import Manifest
from ...shards.sources.local import Local
from ...shards.sources.retry import Stopped
from .cache import Cache, NoRoom
from .copying import Advance, copy
from .fetch import RemoteStore
from .remote import ORIGIN, TARS, Form, folder_for, is_remote, name_in_cache, origin_of

TOGETHER = 4  # files that are copied at a time: network disks answer one stream at a part of their speed


@dataclass(frozen=True)
class Stage:
    """A folder on a disk of this node, and how many bytes of all sets together may lie there."""

    folder: Path
    limit: int
    mbps: float = 0.0  # megabits per second that a process brings there at most; 0: no limit


@dataclass(frozen=True)
class StagedSet:
    """The files of a set in one format, and where they lie in a stage."""

    manifest: Manifest  # with all samples: the digest of a file is of all that it holds
    form: Form
    stage: Stage

    @cached_property
    def lines(self) -> list[JSON]:
        """What `dataset.json` says about each file."""
        return [line for line in self.manifest.info.files if line["file"].endswith(ENDS[self.form])]

    @cached_property
    def folder(self) -> Path:
        """Where the files lie once they are staged."""
        return self.stage.folder / TARS

    @cached_property
    def names(self) -> list[str]:
        """The name of each file there."""
        return [name_in_cache(line) for line in self.lines]

    @cached_property
    def source(self) -> Local | RemoteStore:
        """Where the files come from."""
        if not is_remote(self.manifest):
            return Local(self.manifest.root)
        url, _, mbps = origin_of(self.manifest)
        return RemoteStore(url, mbps=mbps)

    @property
    def fitting(self) -> int:
        """How many files, the first ones, fit into the limit together."""
        return sum(total <= self.stage.limit for total in accumulate(line["bytes"] for line in self.lines))

    def fill(self, number: int, path: Path, advance: Advance) -> None:
        """Write file `number` to `path`, from where an earlier copy stopped. UserError when it is not as its digest
        says, or cannot be read; OSError when `path` cannot be written."""
        line = self.lines[number]
        try:
            found = tar_spans(self.manifest, number) if self.form == "webdataset" else self._in_beton(line["file"])
        except (OSError, ValueError) as error:
            raise UserError(f"{self.source.show(line['file'])} cannot be read ({reason(error)})") from error
        spans = [*zip(found.start.tolist(), found.length.tolist(), strict=True)]
        copy(self.source, line, path, spans, advance, self.stage.mbps)

    def _in_beton(self, name: str) -> Spans:
        return beton_spans_in(self.manifest, self.source, {line["file"]: line["file"] for line in self.lines}, name)


def staged_set(manifest: Manifest, loader: str, stage: Stage) -> StagedSet:
    """What a loader reads of a set, in a stage. UserError for a loader that reads no files which could be staged."""
    if loader in ("memory", "dali"):  # these take any format
        loader = next((form for form in ENDS if form in manifest.info.formats), "")
    if loader not in ENDS:
        raise UserError(
            f"--stage copies tars and .beton files, which {manifest.root} is not read from: choose --loader webdataset "
            "or ffcv, or leave out --stage"
        )
    manifest.require(loader)
    return StagedSet(manifest.whole(), "ffcv" if loader == "ffcv" else "webdataset", stage)


def lacking(files: StagedSet) -> str:
    """Why not all files are staged, "" if the limit has room for them."""
    if (held := files.fitting) == len(files.lines):
        return ""
    size = sum(line["bytes"] for line in files.lines)
    return (
        f"{held:,} of {plural(len(files.lines), 'file')} of {files.source.show()} ({size:,} bytes) fit into --cache-gb "
        f"({files.stage.limit:,} bytes)"
    )


def staging(files: StagedSet, advance: Advance = bool) -> Iterator[str]:
    """Stage the files that are not there. Yields a line for each reason why some are not, as it is found; `advance`
    gets the bytes that are there. UserError when the folder cannot be used."""
    held, full = files.fitting, threading.Event()
    cache = Cache(files.folder, files.stage.limit, 0, set(files.names[:held]))
    describe(files)
    if reason := lacking(files):
        yield reason
    with ThreadPoolExecutor(TOGETHER) as pool:
        faults = filter(None, pool.map(lambda number: _placed(files, number, cache, full, advance), range(held)))
        yield from islice(faults, 1)
        if more := sum(1 for _ in faults):
            yield f"such reasons left out {plural(more, 'more file')} of {files.source.show()}"


def _placed(files: StagedSet, number: int, cache: Cache, full: threading.Event, advance: Advance) -> str:
    """Stage a file, unless the folder is `full`; why it is not there, "" if it is, or if there is no use in trying."""
    if full.is_set():
        return ""
    line, done = files.lines[number], 0

    def fill(path: Path) -> None:
        files.fill(number, path, further)

    def further(count: int) -> None:
        nonlocal done
        done += count
        advance(count)

    try:
        cache.get(files.names[number], line["bytes"], fill, full).close()
    except Stopped:
        return ""
    except (NoRoom, OSError) as error:
        if full.is_set():  # another thread has the reason
            return ""
        full.set()
        if isinstance(error, NoRoom):
            return str(error)
        return f"{error.filename or files.folder} cannot be written ({error.strerror or error})"
    except UserError as error:
        return str(error)
    advance(line["bytes"] - done)
    return ""


def describe(files: StagedSet) -> None:
    """Leave a note in the stage that says which set its files are of, for verify_shards.py: the set at a URL has one
    already. It is followed only while it is the file that was written here (remote.py)."""
    if is_remote(files.manifest):
        return
    source = files.manifest.root.resolve()
    folder = folder_for(files.stage.folder, str(source))
    make_folder(folder)
    with atomic(folder / ORIGIN, "w") as file:
        own = os.fstat(file.fileno()).st_ino
        json.dump({"url": "", "folder": str(source), "limit": files.stage.limit, "file": own}, file)
