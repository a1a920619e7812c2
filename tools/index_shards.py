"""Index existing tars or a .beton so that every loader can read them; the files themselves stay unchanged.

Files at a URL are read once. Their manifest is written beside them, or to --out, which --data then names.

python tools/index_shards.py /data/my-tars
python tools/index_shards.py s3://bucket/my-tars
python tools/index_shards.py https://host/their-tars --out data/cache/theirs
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from viewstream.pipeline.readers.remote import require_bare, write_origin
from viewstream.shards.care.index import index
from viewstream.shards.care.summary import summary
from viewstream.shards.cli import Positional, parse, run
from viewstream.shards.sources.wanted import Wanted
from viewstream.shards.unpack import MAX_PIXELS


@dataclass(frozen=True)
class Options:
    """What to index"""

    dir: Annotated[str, "folder or URL of the tars or the .beton", Positional] = ""
    out: Annotated[Path | None, "folder for the manifest of files at a URL that may not be written"] = None
    split: Annotated[Literal["train", "val"], "which split the files are"] = "train"
    on_error: Annotated[Literal["fail", "skip"], "what to do about images that the loaders cannot read"] = "fail"
    strict: Annotated[bool, "refuse files that hold anything but images and labels"] = False
    member: Annotated[str, "tars: suffix of the images, as input.jpg"] = ""
    label_column: Annotated[str, "tars: suffix, or field of the .json, of the labels; none: leave labels out"] = ""
    fields: Annotated[tuple[str, ...], "tars: suffixes of further members that readers find, as txt,mask.png"] = ()
    label_field: Annotated[str, "field of the labels in a .beton; none: leave labels out"] = ""
    workers: Annotated[int, "threads; 0 = one per core, 4 for a URL", 0] = 0
    max_pixels: Annotated[
        int, "largest image that loaders shall read, px: decoded, it takes three bytes for each", 1
    ] = MAX_PIXELS


def main() -> None:
    (options,) = parse(Options(), description=__doc__ or "")
    if options.out:
        require_bare(options.dir)
    made = index(
        options.dir,
        options.split,
        skip=options.on_error == "skip",
        workers=options.workers,
        strict=options.strict,
        wanted=Wanted(member=options.member, label=options.label_column, fields=options.fields),
        label_field=options.label_field,
        max_pixels=options.max_pixels,
        out=options.out,
    )
    if options.out:
        write_origin(options.out, options.dir.rstrip("/"))
    print(summary(made))


if __name__ == "__main__":
    run(main)
