"""Copy the files of a set into a stage, a folder on a disk of this node, before a training that names it: --stage DIR.

Each file is compared with its digest while it is copied. A call that was ended goes on where it stopped.

python tools/stage_shards.py /nfs/shards/imagenet-train --stage /scratch/stage
"""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from viewstream.shards.cli import Positional, parse, run

# isort: split
from tqdm import tqdm

from viewstream.pipeline.readers.remote import LIMIT, open_remote
from viewstream.pipeline.readers.stage import Stage, staged_set, staging
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest
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


def main() -> None:
    (options,) = parse(Options(), description=__doc__ or "")
    if not options.stage:
        raise UserError("--stage names no folder: name one on a disk of this node")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends copies of any size at once, as any other kill
    stage = Stage(Path(options.stage), int(options.cache_gb * GB), options.cache_mbps)
    files = staged_set(_opened(options, stage), options.loader, stage)
    size = sum(line["bytes"] for line in files.lines)
    with tqdm(total=size, unit="B", unit_scale=True, disable=None, desc="staging") as bar:
        reasons = [*staging(files, bar.update)]
    if reasons:
        raise UserError("; ".join(reasons))
    print(f"{stage.folder} has all {len(files.lines):,} files of {files.source.show()}: {size / GB:.3g} GB, as built")


def _opened(options: Options, stage: Stage) -> Manifest:
    if "://" in options.data:
        return open_remote(
            options.data, stage.folder, stage.limit, max_pixels=options.max_pixels, mbps=options.cache_mbps
        )
    return Manifest.open(options.data, max_pixels=options.max_pixels)


if __name__ == "__main__":
    run(main)
