"""Index existing tars or a .beton so that every loader can read them; the files themselves stay unchanged.

python tools/index_shards.py /data/my-tars
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from viewstream.shards.care.index import index
from viewstream.shards.care.summary import summary
from viewstream.shards.cli import Positional, parse, run
from viewstream.shards.sources.wanted import Wanted
from viewstream.shards.unpack import MAX_PIXELS


@dataclass(frozen=True)
class Options:
    """What to index"""

    dir: Annotated[Path, "folder with the tars or the .beton", Positional] = Path()
    split: Annotated[Literal["train", "val"], "which split the files are"] = "train"
    on_error: Annotated[Literal["fail", "skip"], "what to do about images that the loaders cannot read"] = "fail"
    strict: Annotated[bool, "refuse files that hold anything but images and labels"] = False
    member: Annotated[str, "tars: suffix of the image, if samples have several, as input.jpg"] = ""
    label_column: Annotated[str, "tars: suffix, or field of the .json, of the labels; none: leave labels out"] = ""
    fields: Annotated[tuple[str, ...], "tars: suffixes of further members that readers find, as txt,mask.png"] = ()
    label_field: Annotated[str, "field of the labels in a .beton; none: leave labels out"] = ""
    workers: Annotated[int, "processes; 0 = one per core", 0] = 0
    max_pixels: Annotated[
        int, "largest image that loaders shall read, px: decoded, it takes three bytes for each", 1
    ] = MAX_PIXELS


def main() -> None:
    (options,) = parse(Options(), description=__doc__ or "")
    made = index(
        options.dir,
        options.split,
        skip=options.on_error == "skip",
        workers=options.workers,
        strict=options.strict,
        wanted=Wanted(member=options.member, label=options.label_column, fields=options.fields),
        label_field=options.label_field,
        max_pixels=options.max_pixels,
    )
    print(summary(made))


if __name__ == "__main__":
    run(main)
