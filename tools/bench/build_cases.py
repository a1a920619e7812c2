"""Ways to store a folder of JPEGs: this project's builder, `cp`, the codecs alone, ffcv's and webdataset's writers."""

import statistics
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.encoding.encode import Encoding, encode
from viewstream.shards.encoding.shrink import shrink
from viewstream.shards.errors import needs
from viewstream.tools.bench.measuring.rounds import in_rounds

RESIZED = Encoding(keep=False, max_side=400, short_side=0, quality=90, check="decode")  # the builder's default
WHOLE = "decode, shrink, encode"
Case = Callable[[Path], Any]  # writes into the empty folder that it is given


class Rows:
    """The images as a data set of ffcv's DatasetWriter: row -> (image, label 0)."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        return Image.open(self.paths[row]).convert("RGB"), 0


def ours(source: Path, workers: int, out: Path, **options: Any) -> None:
    build(BuildOptions(source=source, out=out / "set", workers=workers, **options))


def bare_codecs(paths: list[Path], out: Path) -> None:
    """Decode, resize and encode in one process, which is the speed of one core. Nothing is stored."""
    for path in paths:
        encode(path.read_bytes(), RESIZED)


def codecs_alone(paths: list[Path], rounds: int) -> dict[str, float]:
    """Processor time of one image on one core, us: `encode`, and its floor, decoding alone and encoding alone.

    Medians of rounds; what a codec gets is in the cache, as inside `encode`."""
    kind = {"quality": RESIZED.quality, "colorsubsampling": RESIZED.subsampling}
    todo: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], Any]]] = {
        "decode": (bytes, simplejpeg.decode_jpeg),
        "encode": (_shrunk, partial(simplejpeg.encode_jpeg, **kind)),
        WHOLE: (bytes, partial(encode, encoding=RESIZED)),
    }

    def cost(name: str, _: int) -> float:
        prepare, work = todo[name]
        spent = 0.0
        for path in paths:
            ready = prepare(path.read_bytes())
            start = time.thread_time()
            work(ready)
            spent += time.thread_time() - start
        return 1e6 * spent / len(paths)

    return {name: statistics.median(costs) for name, costs in in_rounds(todo, rounds, cost).items()}


def _shrunk(data: bytes) -> np.ndarray:
    """The pixels that `encode` encodes."""
    stored = encode(data, RESIZED)
    return shrink(simplejpeg.decode_jpeg(data), stored.height, stored.width)


def stock_ffcv(paths: list[Path], workers: int, out: Path) -> None:
    fields = needs("ffcv.fields")
    image = fields.RGBImageField(write_mode="jpg", max_resolution=400, jpeg_quality=90)
    writer = needs("ffcv.writer").DatasetWriter(
        str(out / "stock.beton"), {"image": image, "label": fields.IntField()}, num_workers=workers
    )
    writer.from_indexed_dataset(Rows(paths))


def stock_webdataset(paths: list[Path], out: Path) -> None:
    """The loop of webdataset's documentation, with this project's encoding, in one process."""
    with needs("webdataset").ShardWriter(str(out / "stock-%06d.tar"), maxsize=256e6, verbose=0) as tar:
        for number, path in enumerate(paths):
            tar.write({"__key__": f"{number:08d}", "jpg": encode(path.read_bytes(), RESIZED).jpeg, "cls": 0})


def cases(paths: list[Path], source: Path, workers: int, peers: bool) -> dict[str, Case]:
    """All ways by name; `paths` are the files under `source`/train, `peers` adds the writers of ffcv and webdataset."""
    parallel, serial = partial(ours, source, workers), partial(ours, source, 1)
    found: dict[str, Case] = {
        "cp": lambda out: subprocess.run(["cp", "-r", source / "train", out], check=True),
        "keep to tar": partial(parallel, keep=True, format=("webdataset",)),
        "keep to tar, one worker": partial(serial, keep=True, format=("webdataset",)),
        "keep to tar and beton": partial(parallel, keep=True),
        "bare codecs, one core": partial(bare_codecs, paths),
        "400 px to tar": partial(parallel, format=("webdataset",)),
        "400 px to beton": partial(parallel, format=("ffcv",)),
    }
    if peers:
        found["ffcv DatasetWriter, 400 px"] = partial(stock_ffcv, paths, workers)
        found["webdataset ShardWriter, 400 px"] = partial(stock_webdataset, paths)
    return found
