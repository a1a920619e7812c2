"""Check what this project wrote against its digests and checksums: sets, runs, checkpoints, results, features, caches.

Writes nothing; --repair makes damaged files of a set again. Files of a set at a URL are read once, in pieces.

python tools/verify_shards.py data/shards/imagenet-lt6-train --repair --source /data/imagenet
python tools/verify_shards.py s3://bucket/imagenet-lt6-train
python tools/verify_shards.py runs/moco
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from viewstream.pipeline.readers.fetch import RemoteStore
from viewstream.pipeline.readers.remote import forms, open_remote, since
from viewstream.shards.care.damage import Damage
from viewstream.shards.care.repair import repair
from viewstream.shards.care.verify import sound, verify
from viewstream.shards.cli import Positional, parse, run
from viewstream.shards.columns import FILE
from viewstream.shards.errors import UserError, command, plural
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

    dir: Annotated[
        str,
        "folder or URL of a set, folder of a run, cache or of features, or a checkpoint or another file",
        Positional,
    ] = ""
    repair: Annotated[bool, "rebuild damaged files of a set from its undamaged formats, else from --source"] = False
    source: Annotated[str, "images that the set was built from"] = ""
    source_type: Annotated[
        str, "imagefolder, flat, ilsvrc, parquet, tsv, webdataset or list, if detection is wrong"
    ] = ""
    root: Annotated[str, "folder of the images of a list file (the folder of the list)"] = ""
    workers: Annotated[int, "threads; 0 = one per core, 16 for a URL", 0] = 0
    json: Annotated[bool, "print what is damaged as JSON, all else on standard error"] = False
    max_pixels: Annotated[
        int, "largest image that loaders shall read, px: decoded, it takes three bytes for each", 1
    ] = MAX_PIXELS


def main() -> None:
    (options,) = parse(Options(), description=__doc__ or "")
    if "://" in options.dir:
        _set_at_url(options)
        return
    where = Path(options.dir)
    if not where.exists() or (any((where / name).exists() for name in (PAGE, TABLE)) and not is_remote(where)):
        _set(options)
    elif options.repair:
        raise UserError(f"--repair makes files of a set again, and {where} is no set here: leave it out")
    else:
        damages, whole = others(where, options.workers, options.max_pixels)
        if options.json:
            print(json.dumps({"folder": options.dir, "damaged": damages}, indent=1))
        _end(options, damages, whole)


def _end(options: Options, damages: list[str], whole: str) -> None:
    """Say what was found; UserError if files are damaged."""
    for line in damages:
        _say(options, line)
    if damages:
        raise UserError(f"{_damaged(len(damages), str(Path(options.dir)))}: each line says what to do")
    _say(options, whole)


def _damaged(number: int, where: str) -> str:
    return f"{number} file{'s' * (number > 1)} of {where} {'are' if number > 1 else 'is'} damaged or absent"


def _say(options: Options, text: str) -> None:
    """Print a line, on standard error where standard output is one JSON document."""
    print(text, file=sys.stderr if options.json else sys.stdout)


def _set_at_url(options: Options) -> None:
    """Check a set at a URL, whose manifest is fetched for that time only."""
    if options.repair:
        raise UserError(
            f"--repair writes files of a set in place, and {options.dir} is a URL: leave it out, then upload "
            "the damaged files again, or remove the set and build it again"
        )
    with TemporaryDirectory() as folder:
        manifest = open_remote(options.dir, folder, max_pixels=options.max_pixels)
        damages = verify(manifest, options.workers, RemoteStore(manifest.url))
        _show(options, manifest, damages)
        if damages:
            count = len({damage.file for damage in damages})
            remedy = "upload them again from a set that is whole, or remove the set and build it again"
            raise since(manifest, UserError(f"{_damaged(count, options.dir)}: {remedy}"))
        _say(options, _whole(options, manifest))
        if "folder" in manifest.info.formats:
            _say(
                options,
                f"its folder of images was not read: sets at a URL are read from {' or '.join(forms(manifest))}",
            )


def _set(options: Options) -> None:
    """Check a set with a manifest, and mend it if that is asked for."""
    root = Path(options.dir)
    manifest = sound(root, options.max_pixels)
    damages = verify(manifest, options.workers)
    _show(options, manifest, damages)
    mendable = [damage for damage in damages if not damage.remedy]
    if options.repair and (mendable or not (root / FILE).exists()):
        for file in repair(manifest, mendable, lambda: _source(manifest, options)):
            _say(options, f"{file}: rebuilt")
        if mendable:
            damages = verify(sound(root, options.max_pixels), options.workers)
            mendable = [damage for damage in damages if not damage.remedy]
    if damages:
        files = len({damage.file for damage in damages})
        raise UserError(f"{_damaged(files, options.dir)}: {_remedy(manifest, damages)}")
    _say(options, _whole(options, manifest))
    if not manifest.info.static and is_static(root):  # of an earlier version, beside its shards
        _end(options, *undigested(root, options.workers))


def _show(options: Options, manifest: Manifest, damages: list[Damage]) -> None:
    """A line for each damaged file, with the names of some samples; as JSON with all of them."""
    if options.json:
        files = [{"file": d.file, "cause": d.cause, "samples": [*map(manifest.key, d.rows)]} for d in damages]
        print(json.dumps({"set": options.dir, "samples": len(manifest), "damaged": files}, indent=1))
        return
    for damage in damages:
        names = ", ".join(manifest.key(row) for row in damage.rows[:SHOWN])
        more = ", ..." if len(damage.rows) > SHOWN else ""
        print(f"{damage.file}: {damage.cause}{f' ({names}{more})' if names else ''}")


def _whole(options: Options, manifest: Manifest) -> str:
    formats = ", ".join(manifest.info.formats)
    samples = plural(len(manifest), "sample")
    return f"{options.dir} is as it was built: {samples}, {formats}, {plural(len(manifest.info.files), 'file')}"


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
    mends = f"{command('python tools/verify_shards.py', manifest.root, '--repair')} mends it"
    if manifest.info.static:
        return f"make the set again, or {mends} from its tars or a copy of the set, named with --source"
    return mends


def _source(manifest: Manifest, options: Options) -> Source:
    if not options.source:
        raise UserError("some of what is damaged has no other copy in the set: name its source with --source")
    split, kind, encoding = manifest.info.subset["split"], options.source_type or None, manifest.info.encoding
    labels = NONE if encoding.keys() & {"member", "fields"} else ""  # of tars; the manifest has them
    wanted = Wanted(encoding.get("member", ""), encoding.get("image_column", ""), labels, manifest.info.fields)
    return open_source(options.source, split, kind, options.root or None, wanted)


if __name__ == "__main__":
    run(main)
