"""Build shards from images: tars for WebDataset and a .beton for ffcv, with one manifest.

python tools/build_shards.py --source /data/imagenet --subset lt6

Run the same command again to resume an interrupted build.
"""

from dataclasses import dataclass
from typing import Annotated

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.building.job import Job
from viewstream.shards.care.summary import planned, summary
from viewstream.shards.cli import parse, run
from viewstream.shards.subsets.options import SubsetOptions


@dataclass(frozen=True)
class Preview:
    """Before a build"""

    dry_run: Annotated[bool, "say what would be built, and write nothing"] = False


def main() -> None:
    options, choice, preview = parse(BuildOptions(), SubsetOptions(), Preview(), description=__doc__ or "")
    if preview.dry_run:
        print(planned(Job.of(options, choice)))
        return
    try:
        print(summary(build(options, choice)))
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt("the same command goes on from there") from interrupt


if __name__ == "__main__":
    run(main)
