"""Build shards from images: tars for WebDataset and a .beton for ffcv, with one manifest.

python tools/build_shards.py --source /data/imagenet --subset lt6

Run the same command again to resume an interrupted build.
"""

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.care.summary import summary
from viewstream.shards.cli import parse, run
from viewstream.shards.subsets.options import SubsetOptions


def main() -> None:
    options, choice = parse(BuildOptions(), SubsetOptions(), description=__doc__ or "")
    print(summary(build(options, choice)))


if __name__ == "__main__":
    run(main)
