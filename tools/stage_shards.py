"""Copy the files of a set into a stage, a folder on a disk of this node, before a training that names it: --stage DIR.

Each file is compared with its digest while it is copied. A call that was ended goes on where it stopped.

python tools/stage_shards.py /nfs/shards/imagenet-train --stage /scratch/stage
"""

import signal
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from viewstream.shards.cli import Positional, parse, run

# isort: split
from viewstream.pipeline.readers.remote import LIMIT, open_built, open_remote
from viewstream.pipeline.readers.stage import Stage, StagedSet, lacking, staged_set, staging
from viewstream.shards.errors import UserError, plural
from viewstream.shards.files import free_at
from viewstream.shards.info import JSON
from viewstream.shards.manifest import Manifest
from viewstream.shards.progress import Bar
from viewstream.shards.unpack import MAX_PIXELS

GB = 10**9


@dataclass(frozen=True)
class Options:
    """What to stage"""

    data: Annotated[str, "folder or URL of a built set", Positional] = ""
    stage: Annotated[str, "folder on a disk of this node, which the training gets too"] = ""
    loader: Annotated[str, "loader of the training, which decides what it reads: webdataset, ffcv, memory or dali"] = (
        "ffcv"
    )
    cache_gb: Annotated[float, "maximum size of that folder, GB: least recently used files make room", 0] = LIMIT / GB
    cache_mbps: Annotated[float, "megabits per second (8: one megabyte) that are copied at most; 0: no limit", 0] = 0.0
    max_pixels: Annotated[
        int, "largest image that loaders shall read, px: decoded, it takes three bytes for each", 1
    ] = MAX_PIXELS
    dry_run: Annotated[bool, "say what would be copied and what room there is, and write nothing"] = False


def main() -> None:
    (options,) = parse(Options(), description=__doc__ or "")
    if not options.stage:
        raise UserError("--stage names no folder: name one on a disk of this node")
    if options.dry_run:
        print(planned(options))
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends copies of any size at once, as any other kill
    stage = Stage(Path(options.stage), int(options.cache_gb * GB), options.cache_mbps)
    files = staged_set(_opened(options, stage), options.loader, stage)
    size = sum(line["bytes"] for line in files.lines)
    with Bar(size, "B", "staging", scale=True) as bar:
        reasons = [*staging(files, bar.update)]
    if reasons:
        raise UserError("; ".join(reasons))
    files_named = plural(len(files.lines), "file")
    print(f"{stage.folder} has every file of {files.source.show()}, as built: {files_named}, {size / GB:.3g} GB")


def planned(options: Options) -> str:
    """What would be copied. UserError for what would stop the work, a limit that is too small among it."""
    stage = Stage(Path(options.stage), int(options.cache_gb * GB))
    with TemporaryDirectory() as cache:  # for the manifest of a set at a URL
        data = open_built(options.data, Path(cache), options.max_pixels)
        files = staged_set(data, options.loader, stage)
        if reason := lacking(files):
            raise UserError(reason)
        there = [line for name, line in zip(files.names, files.lines, strict=True) if _is_there(files, name, line)]
    size, here = (sum(line["bytes"] for line in lines) for lines in (files.lines, there))
    free = free_at(stage.folder)
    lines = [
        ("set", f"{files.source.show()}, {len(data):,} images"),
        ("files", f"{len(files.lines):,}, {size / GB:.3g} GB"),
        ("there already", f"{len(there):,}, {here / GB:.3g} GB"),
        ("to copy", f"{len(files.lines) - len(there):,}, {(size - here) / GB:.3g} GB"),
        ("free", f"{free / GB:,.1f} GB" + ", which is less: name another --stage" * (free < size - here)),
        ("limit", f"{stage.limit / GB:,.1f} GB for all sets in it: least recently used files make room (--cache-gb)"),
        ("where", f"{files.folder}, where nothing was written now"),
    ]
    return "\n".join(f"{name:>14}  {text}" for name, text in lines)


def _is_there(files: StagedSet, name: str, line: JSON) -> bool:
    path = files.folder / name
    return path.is_file() and path.stat().st_size == line["bytes"]


def _opened(options: Options, stage: Stage) -> Manifest:
    if "://" in options.data:
        return open_remote(
            options.data, stage.folder, stage.limit, max_pixels=options.max_pixels, mbps=options.cache_mbps
        )
    return Manifest.open(options.data, max_pixels=options.max_pixels)


if __name__ == "__main__":
    run(main)
