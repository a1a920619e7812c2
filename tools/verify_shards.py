"""Check every file and sample of a built set against the digests that the build wrote; --repair fixes damaged files.

python tools/verify_shards.py data/shards/imagenet-lt6-train --repair --source /data/imagenet
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from viewstream.shards.care.repair import repair
from viewstream.shards.care.verify import verify
from viewstream.shards.cli import Positional, parse, run
from viewstream.shards.errors import UserError, command
from viewstream.shards.manifest import Manifest
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.source import Source

SHOWN = 3  # sample names per damaged file


@dataclass(frozen=True)
class Options:
    """What to check"""

    dir: Annotated[Path, "folder of a built set", Positional] = Path()
    repair: Annotated[bool, "rebuild damaged files from undamaged formats of the set, else from --source"] = False
    source: Annotated[str, "images that the set was built from"] = ""
    source_type: Annotated[
        str, "imagefolder, flat, ilsvrc, parquet, tsv, webdataset or list, if detection is wrong"
    ] = ""
    root: Annotated[str, "folder of the images of a list file (the folder of the list)"] = ""
    workers: Annotated[int, "threads; 0 = one per core", 0] = 0


def main() -> None:
    (options,) = parse(Options(), description=__doc__ or "")
    manifest = Manifest.open(options.dir)
    damages = verify(manifest, options.workers)
    for damage in damages:
        names = ", ".join(manifest.keys[row] for row in damage.rows[:SHOWN])
        more = ", ..." if len(damage.rows) > SHOWN else ""
        print(f"{damage.file}: {damage.cause}{f' ({names}{more})' if names else ''}")
    if damages and options.repair:
        for file in repair(manifest, damages, lambda: _source(manifest, options)):
            print(f"{file}: rebuilt")
        damages = verify(manifest, options.workers)
    if damages:
        remedy = f"`{command('python tools/verify_shards.py', options.dir, '--repair')}` rebuilds them"
        raise UserError(f"{len(damages)} files of {options.dir} are damaged or absent: {remedy}")
    formats = ", ".join(manifest.info.formats)
    print(f"{options.dir} is as it was built: {len(manifest):,} samples, {formats}, {len(manifest.info.files)} files")


def _source(manifest: Manifest, options: Options) -> Source:
    if not options.source:
        raise UserError("some images are damaged in every format of the set: name its source with --source")
    return open_source(options.source, manifest.info.subset["split"], options.source_type or None, options.root or None)


if __name__ == "__main__":
    run(main)
