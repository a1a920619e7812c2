"""Check what this project wrote against its digests and checksums: sets, runs, checkpoints, results, features, caches.

Writes nothing; --repair makes damaged files of a set again.

python tools/verify_shards.py data/shards/imagenet-lt6-train --repair --source /data/imagenet
python tools/verify_shards.py runs/moco
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from viewstream.shards.care.damage import Damage
from viewstream.shards.care.repair import repair
from viewstream.shards.care.verify import sound, verify
from viewstream.shards.cli import Positional, parse, run
from viewstream.shards.columns import FILE
from viewstream.shards.errors import UserError, command
from viewstream.shards.files import PAGE
from viewstream.shards.manifest import Manifest
from viewstream.shards.sources.detect import open_source
from viewstream.shards.sources.source import Source
from viewstream.shards.sources.wanted import NONE, Wanted
from viewstream.shards.table import TABLE
from viewstream.shards.unpack import MAX_PIXELS
from viewstream.tools.verify_others import is_remote, is_static, others, undigested

SHOWN = 3  # sample names per damaged file


@dataclass(frozen=True)
class Options:
    """What to check"""

    dir: Annotated[Path, "folder of a set, run, cache or of features, or a checkpoint or another file", Positional] = (
        Path()
    )
    repair: Annotated[bool, "rebuild damaged files of a set from its undamaged formats, else from --source"] = False
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
    where = options.dir
    if not where.exists() or (any((where / name).exists() for name in (PAGE, TABLE)) and not is_remote(where)):
        _set(options)
    elif options.repair:
        raise UserError(f"--repair makes files of a set again, and {where} is no set here: leave it out")
    else:
        _end(where, *others(where, options.workers, options.max_pixels))


def _end(where: Path, damages: list[str], whole: str) -> None:
    """Print what was found; UserError if files are damaged."""
    for line in damages:
        print(line)
    if damages:
        raise UserError(f"{len(damages)} files of {where} are damaged or absent: each line says what to do")
    print(whole)


def _set(options: Options) -> None:
    """Check a set with a manifest, and mend it if that is asked for."""
    manifest = sound(options.dir, options.max_pixels)
    damages = verify(manifest, options.workers)
    for damage in damages:
        names = ", ".join(manifest.key(row) for row in damage.rows[:SHOWN])
        more = ", ..." if len(damage.rows) > SHOWN else ""
        print(f"{damage.file}: {damage.cause}{f' ({names}{more})' if names else ''}")
    mendable = [damage for damage in damages if not damage.remedy]
    if options.repair and (mendable or not (options.dir / FILE).exists()):
        for file in repair(manifest, mendable, lambda: _source(manifest, options)):
            print(f"{file}: rebuilt")
        if mendable:
            damages = verify(sound(options.dir, options.max_pixels), options.workers)
            mendable = [damage for damage in damages if not damage.remedy]
    if damages:
        files = len({damage.file for damage in damages})
        raise UserError(f"{files} files of {options.dir} are damaged or absent: {_remedy(manifest, damages)}")
    formats = ", ".join(manifest.info.formats)
    print(f"{options.dir} is as it was built: {len(manifest):,} samples, {formats}, {len(manifest.info.files)} files")
    if not manifest.info.static and is_static(options.dir):  # of an earlier version, beside its shards
        _end(options.dir, *undigested(options.dir, options.workers))


def _remedy(manifest: Manifest, damages: list[Damage]) -> str:
    """What helps: a repair only against bytes that differ from those that were built."""
    remedies = [*dict.fromkeys(damage.remedy for damage in damages if damage.remedy)]
    mendable = [damage for damage in damages if not damage.remedy]
    if mendable:
        remedies.insert(0, _mending(manifest, mendable))
    return "; ".join(remedies)


def _mending(manifest: Manifest, damages: list[Damage]) -> str:
    if manifest.info.kind == "indexed" and any(damage.file != FILE for damage in damages):
        return "they were made elsewhere, fetch them again"
    rebuilds = f"{command('python tools/verify_shards.py', manifest.root, '--repair')} rebuilds them"
    if manifest.info.static:
        return f"make the set again, or {rebuilds} from its tars or a copy of the set, named with --source"
    return rebuilds


def _source(manifest: Manifest, options: Options) -> Source:
    if not options.source:
        raise UserError("some of what is damaged has no other copy in the set: name its source with --source")
    split, kind, encoding = manifest.info.subset["split"], options.source_type or None, manifest.info.encoding
    labels = NONE if encoding.keys() & {"member", "fields"} else ""  # of tars; the manifest has them
    wanted = Wanted(encoding.get("member", ""), encoding.get("image_column", ""), labels, manifest.info.fields)
    return open_source(options.source, split, kind, options.root or None, wanted)


if __name__ == "__main__":
    run(main)
