"""Check every file and every sample of a built set against the digests that the build wrote; --repair mends it.

python tools/verify_shards.py data/shards/imagenet-lt6-train --repair --source /data/imagenet
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from viewstream.shards.care.repair import repair
from viewstream.shards.care.verify import verify
from viewstream.shards.cli import Positional, parse, run
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.source import Source

SHOWN = 3  # names a file


@dataclass(frozen=True)
class Options:
    """What to check"""

    dir: Annotated[Path, "folder of a built set", Positional] = Path()
    repair: Annotated[bool, "make damaged files again, from what is whole in the set, else from --source"] = False
    source: Annotated[str, "the images that the set was built from"] = ""
    source_type: Annotated[
        str, "imagefolder, flat, ilsvrc, parquet, tsv, webdataset or list, if not detected right"
    ] = ""
    root: Annotated[str, "where the images of a list file lie (the folder of the list)"] = ""
    workers: Annotated[int, "threads; 0 = one a core", 0] = 0


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
            print(f"{file}: made again")
        damages = verify(manifest, options.workers)
    if damages:
        remedy = f"python tools/verify_shards.py {options.dir} --repair makes them again"
        raise UserError(f"{len(damages)} files of {options.dir} are damaged or absent: {remedy}")
    formats = ", ".join(manifest.info.formats)
    print(f"{options.dir} is as it was built: {len(manifest):,} samples, {formats}, {len(manifest.info.files)} files")


def _source(manifest: Manifest, options: Options) -> Source:
    if not options.source:
        raise UserError("some images are whole in no format of the set: name what it was built from with --source")
    return open_source(options.source, manifest.info.subset["split"], options.source_type or None, options.root or None)


if __name__ == "__main__":
    run(main)
