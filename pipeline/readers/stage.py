"""Staging: the files of a set are copied into a folder on the node's own disk, checked, before most of their reads.

The folder is the cache of remote sets (cache.py), with its names, locks and limit. A file has its name there when its
digest is that of `dataset.json`; readers (staged.py) read the source until then. Files are copied in storage order: a
shuffled order needs all of them at once.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice
from pathlib import Path

from ...shards.care.spans import beton_spans, tar_spans
from ...shards.errors import UserError
from ...shards.files import atomic, make_folder
from ...shards.info import JSON
from ...shards.manifest import Manifest
from ...shards.sources.local import Local
from ...shards.sources.retry import Stopped
from .cache import Cache, NoRoom
from .copying import copy
from .fetch import REFUSED, RemoteStore, altered
from .remote import ORIGIN, TARS, folder_for, is_remote, name_in_cache, tar_storage

FORMS = {"webdataset": ".tar", "ffcv": ".beton"}  # formats whose files have digests in dataset.json, and their names
TOGETHER = 4  # files that are copied at a time: network disks answer one stream at a part of their speed
Advance = Callable[[int], object]  # gets numbers of bytes


@dataclass(frozen=True)
class Stage:
    """A folder on a disk of this node, and how many bytes of all sets together may lie there."""

    folder: Path
    limit: int


@dataclass(frozen=True)
class StagedSet:
    """The files of a set in one format, and where they lie in a stage."""

    manifest: Manifest  # with all samples: the digest of a file is of all that it holds
    form: str  # a name in FORMS
    stage: Stage

    @cached_property
    def lines(self) -> list[JSON]:
        """What `dataset.json` says about each file."""
        return [line for line in self.manifest.info.files if line["file"].endswith(FORMS[self.form])]

    @cached_property
    def places(self) -> list[Path]:
        """Where each file lies once it is staged."""
        return [self.stage.folder / TARS / name_in_cache(line) for line in self.lines]

    @cached_property
    def source(self) -> Local | RemoteStore:
        """Where the files come from."""
        found = tar_storage(self.manifest)
        assert isinstance(found, Local | RemoteStore)
        return found

    @property
    def fitting(self) -> int:
        """How many files, the first ones, fit into the limit together."""
        return sum(total <= self.stage.limit for total in accumulate(line["bytes"] for line in self.lines))

    def fill(self, number: int, path: Path, advance: Advance) -> None:
        """Write file `number` to `path`, from where an earlier copy stopped. UserError when it is not as its digest
        says, or cannot be read; OSError when `path` cannot be written."""
        line, source = self.lines[number], self.source
        if isinstance(source, Local):
            copy(source, line, path, self._spans(number), advance)
            return

        def fault(path: Path) -> str:
            return altered(path, line["bytes"], line["digest"], self._spans(number))

        try:
            source.fetch(line["file"], path, line["bytes"], fault, threading.Event())
        except UserError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in REFUSED:
                raise error.__cause__ from error
            raise
        advance(line["bytes"])

    def _spans(self, number: int) -> list[tuple[int, int]]:
        """(first byte, bytes) of each sample in a file."""
        if self.form == "webdataset":
            found = tar_spans(self.manifest, number)
        else:
            found = beton_spans(self.manifest, self.manifest.betons()[number])
        return [*zip(found.start.tolist(), found.length.tolist(), strict=True)]


def staged_set(manifest: Manifest, loader: str, stage: Stage) -> StagedSet:
    """What a loader reads of a set, in a stage. UserError for a loader that reads no files which could be staged."""
    if loader in ("memory", "dali"):  # these take any format
        loader = next((form for form in FORMS if form in manifest.info.formats), "")
    if loader not in FORMS:
        raise UserError(
            f"--stage copies tars and .beton files, which {manifest.root} is not read from: choose --loader webdataset "
            "or ffcv, or leave out --stage"
        )
    manifest.require(loader)
    whole = manifest if manifest.chosen is None else Manifest.open(manifest.root, max_pixels=manifest.max_pixels)
    return StagedSet(whole, loader, stage)


def staging(files: StagedSet, advance: Advance = bool) -> Iterator[str]:
    """Stage the files that are not there. Yields a line for each reason why some are not, as it is found; `advance`
    gets the bytes that are there. UserError when the folder cannot be used."""
    cache = Cache(files.stage.folder / TARS, files.stage.limit, 0, {path.name for path in files.places})
    describe(files)
    held, full = files.fitting, threading.Event()
    if held < len(files.lines):
        size = sum(line["bytes"] for line in files.lines)
        yield (
            f"{held:,} of the {len(files.lines):,} files of {files.manifest.root} ({size:,} bytes) fit into --cache-gb "
            f"({files.stage.limit:,} bytes)"
        )

    with ThreadPoolExecutor(TOGETHER) as pool:
        faults = filter(None, pool.map(lambda number: _placed(files, number, cache, full, advance), range(held)))
        yield from islice(faults, 1)
        if more := sum(1 for _ in faults):
            yield f"{more:,} more files of {files.manifest.root} are not staged for such reasons"


def _placed(files: StagedSet, number: int, cache: Cache, full: threading.Event, advance: Advance) -> str:
    """Stage a file, unless the folder is `full`; why it is not there, "" if it is, or if that has been said."""
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
        cache.get(files.places[number].name, line["bytes"], fill, full).close()
    except Stopped:
        return ""
    except (NoRoom, OSError) as error:
        full.set()
        return str(error) if isinstance(error, NoRoom) else f"{error.filename} cannot be written ({error.strerror})"
    except UserError as error:
        return str(error)
    advance(line["bytes"] - done)
    return ""


def describe(files: StagedSet) -> None:
    """Leave a note in the stage that says which set its files are of, for verify_shards.py: the set at a URL has one
    already. It is followed only while it is the file that was written here (`origin` of remote.py)."""
    if is_remote(files.manifest):
        return
    source = files.manifest.root.resolve()
    folder = folder_for(files.stage.folder, str(source))
    make_folder(folder)
    with atomic(folder / ORIGIN, "w") as file:
        own = os.fstat(file.fileno()).st_ino
        json.dump({"url": "", "folder": str(source), "limit": files.stage.limit, "file": own}, file)
