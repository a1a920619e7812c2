"""Build shards from a folder of pictures: tars for WebDataset and a .beton for ffcv, with one manifest.

python tools/build_shards.py --source /data/imagenet --subset lt6
"""

from viewstream.shards.build import BuildOptions, build
from viewstream.shards.cli import parse, run
from viewstream.shards.summary import summary


def main() -> None:
    (options,) = parse(BuildOptions(), about=__doc__ or "")
    print(summary(build(options)))


if __name__ == "__main__":
    run(main)
