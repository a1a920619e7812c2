"""What `verify_shards.py` does with anything but a set that has a manifest: finds out what it is, and checks it."""

from pathlib import Path
from typing import NamedTuple

from viewstream.pipeline.readers.cached import sets_in, verify_cached
from viewstream.shards.building.folder import BUILDING
from viewstream.shards.care.static import unreadable
from viewstream.shards.errors import UserError, plural
from viewstream.shards.files import PAGE
from viewstream.shards.formats.static import class_files
from viewstream.trainers.care import has_checksums, verify

KNOWN = (
    "built, indexed and static sets, unfinished builds, caches of remote sets, stages, runs and folders of runs, "
    "checkpoints, results.json and other files of a run, kept features"
)
PARTIAL = ".partial"


class Found(NamedTuple):
    """What is wrong, a line for each file, and what to print when nothing is."""

    damages: list[str]
    whole: str


def others(where: Path, workers: int, max_pixels: int) -> Found:
    """Check what is at `where`, which is no set with a manifest. UserError if it is nothing that this project writes,
    or is not finished."""
    if is_remote(where):
        return _cache(where, workers, max_pixels)
    if (where / BUILDING).is_dir():
        done = len([*(where / BUILDING).glob("*.parquet")])
        raise UserError(
            f"{where} is an unfinished build, {plural(done, 'shard')} of it finished: the same build_shards.py "
            "command goes on from there"
        )
    if where.name.endswith(PARTIAL) and (where / "images").is_dir():
        raise UserError(
            f"{where} is an unfinished static set: the same make_static.py command makes it, and begins again"
        )
    if is_static(where):
        return undigested(where, workers)
    if where.is_file() and (where.parent / PAGE).exists():
        raise UserError(f"{where} is a file of a set: name {where.parent}")
    if files := verify(where):
        return _files(where, files)
    raise UserError(f"{where} holds nothing that this project writes, which is: {KNOWN}")


def is_remote(where: Path) -> bool:
    """Whether a folder caches a set at a URL."""
    return bool(sets_in(where))


def is_static(where: Path) -> bool:
    """Whether a folder holds a static set in class folders."""
    if not where.is_dir():
        return False
    return any(file.stem.endswith("-0") for files in class_files(where).values() for file in files)


def undigested(where: Path, workers: int) -> Found:
    """Check that the files of a static set without a manifest decode."""
    damages = [f"{where / damage.file}: {damage.cause}: {damage.remedy}" for damage in unreadable(where, workers)]
    count = sum(map(len, class_files(where).values()))
    return Found(
        damages,
        f"{where} is a static set without digests, of an earlier version or ssl-small: its {count:,} JPEGs decode, but "
        "nothing tells whether they are as they were made: make_static.py writes digests now, make it again",
    )


def _cache(where: Path, workers: int, max_pixels: int) -> Found:
    damages, files, sets = [], 0, sets_in(where)
    for root in sets:
        lines, here = verify_cached(root, workers, max_pixels)
        damages += lines
        files += here
    return Found(damages, f"{where} is as it was fetched: {plural(len(sets), 'set')}, {plural(files, 'file')}")


def _files(where: Path, files: dict[Path, str]) -> Found:
    damages = [line for line in files.values() if line]
    if damages:
        return Found(damages, "")
    bare = [file for file in files if not has_checksums(file)]
    names = ", ".join(sorted({file.name for file in bare}))
    read = f", {len(bare)} without checksums can be read ({names})" if bare else ""
    return Found([], f"{where} is whole: {plural(len(files) - len(bare), 'file')} as the checksums say{read}")
