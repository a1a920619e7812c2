"""Check every file and sample of a built set against the digests that the build wrote; --repair fixes damaged files.

python tools/verify_shards.py data/shards/imagenet-lt6-train --repair --source /data/imagenet
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from viewstream.shards.care.repair import repair
from viewstream.shards.care.verify import Damage, sound, verify
from viewstream.shards.cli import Positional, parse, run
from viewstream.shards.columns import FILE
from viewstream.shards.errors import UserError, command
from viewstream.shards.manifest import Manifest
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.source import Source
from viewstream.shards.sources.wanted import NONE, Wanted
from viewstream.shards.unpack import MAX_PIXELS

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
    max_pixels: Annotated[
        int, "largest image that loaders shall read, px: decoded, it takes three bytes for each", 1
    ] = MAX_PIXELS


def main() -> None:
    (options,) = parse(Options(), description=__doc__ or "")
    manifest = sound(options.dir, options.max_pixels)
    damages = verify(manifest, options.workers)
    for damage in damages:
        names = ", ".join(manifest.key(row) for row in damage.rows[:SHOWN])
        more = ", ..." if len(damage.rows) > SHOWN else ""
        print(f"{damage.file}: {damage.cause}{f' ({names}{more})' if names else ''}")
    mendable = [damage for damage in damages if not damage.stored]
    if options.repair and (mendable or not (options.dir / FILE).exists()):
        for file in repair(manifest, mendable, lambda: _source(manifest, options)):
            print(f"{file}: rebuilt")
        if mendable:
            damages = verify(sound(options.dir, options.max_pixels), options.workers)
            mendable = [damage for damage in damages if not damage.stored]
    if damages:
        files = len({damage.file for damage in damages})
        raise UserError(f"{files} files of {options.dir} are damaged or absent: {_remedy(manifest, mendable)}")
    formats = ", ".join(manifest.info.formats)
    print(f"{options.dir} is as it was built: {len(manifest):,} samples, {formats}, {len(manifest.info.files)} files")


def _remedy(manifest: Manifest, mendable: list[Damage]) -> str:
    """What helps: a repair only against bytes that differ from those that were built."""
    if not mendable:
        return "no repair mends what was stored so, build a set without these images (build_shards.py --on-error skip)"
    if manifest.info.kind == "indexed" and any(damage.file != FILE for damage in mendable):
        return "they were made elsewhere, fetch them again"
    return f"{command('python tools/verify_shards.py', manifest.root, '--repair')} rebuilds them"


def _source(manifest: Manifest, options: Options) -> Source:
    if not options.source:
        raise UserError("some of what is damaged has no other copy in the set: name its source with --source")
    split, kind, encoding = manifest.info.subset["split"], options.source_type or None, manifest.info.encoding
    labels = NONE if encoding.keys() & {"member", "fields"} else ""  # of tars; the manifest has them
    wanted = Wanted(encoding.get("member", ""), encoding.get("image_column", ""), labels, manifest.info.fields)
    return open_source(options.source, split, kind, options.root or None, wanted)


if __name__ == "__main__":
    run(main)
