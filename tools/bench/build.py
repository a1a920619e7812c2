"""Images a second of the builder in one run, against `cp`, bare codecs, ffcv's and webdataset's writers.

Rounds go through the cases in turn (A B C A B C ...), medians are compared. Ratios carry over to other days, absolute
numbers do not. Start-up of the workers counts; --repeat copies of the images make it small, as in a real data set.

  python tools/bench/build.py --source data/imagenet --scratch /dev/shm
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from PIL import Image

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.cli import parse, run
from viewstream.shards.encoding.encode import Encoding, encode
from viewstream.shards.engine import cores
from viewstream.shards.errors import UserError, needs
from viewstream.shards.files import atomic
from viewstream.shards.manifest import SCHEMA, Manifest, write

ROWS = 1_281_167  # of ImageNet
AGAIN = Encoding(keep=False, max_side=400, short_side=0, quality=90, check="decode")


@dataclass(frozen=True)
class Bench:
    """What to measure"""

    source: Annotated[Path | None, "folder with JPEGs, searched to any depth"] = None
    repeat: Annotated[int, "copies of the images, to make start-up small", 1] = 8
    rounds: Annotated[int, "measured rounds, after one that is not", 1] = 3
    workers: Annotated[int, "processes, of the peers too (the cores that are there)", 0] = 0
    scratch: Annotated[Path | None, "folder for copies and output; one in memory leaves the disk out"] = None
    peers: Annotated[bool, "also ffcv's DatasetWriter and webdataset's ShardWriter"] = True
    out: Annotated[str, "JSON to write"] = ""


class Rows:
    """The images as ffcv's DatasetWriter wants them."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        return Image.open(self.paths[row]).convert("RGB"), 0


def copied(options: Bench, folder: Path) -> list[Path]:
    """`repeat` copies of every JPEG under the source, in class folders train/copy0, ..."""
    if options.source is None or not options.source.is_dir():
        raise UserError("--source names no folder of JPEGs to measure with: name one")
    found = sorted(p for p in options.source.rglob("*") if p.suffix.lower() in (".jpeg", ".jpg"))
    if not found:
        raise UserError(f"{options.source} holds no JPEGs: name a folder that does")
    made: list[Path] = []
    for copy in range(options.repeat):
        (folder / "train" / f"copy{copy}").mkdir(parents=True)
        for number, path in enumerate(found):
            made.append(folder / "train" / f"copy{copy}" / f"{number:06d}.JPEG")
            shutil.copyfile(path, made[-1])
    return made


def ours(source: Path, workers: int, out: Path, **how: Any) -> None:
    build(BuildOptions(source=source, out=out, workers=workers, **how))


def bare(paths: list[Path], out: Path) -> None:
    """Decode, resize, encode; in one process, so that it times what one core does. Nothing is stored."""
    for path in paths:
        encode(path.read_bytes(), AGAIN)


def stock_ffcv(paths: list[Path], workers: int, out: Path) -> None:
    fields = needs("ffcv.fields")
    image = fields.RGBImageField(write_mode="jpg", max_resolution=400, jpeg_quality=90)
    writer = needs("ffcv.writer").DatasetWriter(
        str(out / "stock.beton"), {"image": image, "label": fields.IntField()}, num_workers=workers
    )
    writer.from_indexed_dataset(Rows(paths))


def stock_webdataset(paths: list[Path], out: Path) -> None:
    """The loop of webdataset's documentation, with our encoding; it has one process."""
    with needs("webdataset").ShardWriter(str(out / "stock-%06d.tar"), maxsize=256e6, verbose=0) as tar:
        for number, path in enumerate(paths):
            tar.write({"__key__": f"{number:08d}", "jpg": encode(path.read_bytes(), AGAIN).jpeg, "cls": 0})


def cases(paths: list[Path], source: Path, options: Bench) -> dict[str, Callable[[Path], Any]]:
    """Each writes into an empty folder that it is given."""
    workers = options.workers or cores()
    tars: dict[str, Any] = {"format": ("webdataset",)}
    made: dict[str, Callable[[Path], Any]] = {
        "cp": lambda out: subprocess.run(["cp", "-r", source / "train", out], check=True),
        "keep to tar": lambda out: ours(source, workers, out / "set", keep=True, **tars),
        "keep to tar, one worker": lambda out: ours(source, 1, out / "set", keep=True, **tars),
        "keep to tar and beton": lambda out: ours(source, workers, out / "set", keep=True),
        "bare codecs, one core": partial(bare, paths),
        "400 px to tar": lambda out: ours(source, workers, out / "set", **tars),
        "400 px to beton": lambda out: ours(source, workers, out / "set", format=("ffcv",)),
    }
    if options.peers:
        made["ffcv DatasetWriter, 400 px"] = partial(stock_ffcv, paths, workers)
        made["webdataset ShardWriter, 400 px"] = partial(stock_webdataset, paths)
    return made


def opening(scratch: Path) -> dict[str, float]:
    """Seconds and MiB to open a manifest of ImageNet's length."""
    rng, names = np.random.default_rng(0), [f"n{n % 1000:08d}/n{n % 1000:08d}_{n}" for n in range(ROWS)]
    columns: dict[str, Any] = {name: rng.integers(0, 1 << 30, ROWS) for name in SCHEMA.names}
    columns |= {"key": names, "source": names, "sha256": [rng.bytes(32) for _ in range(ROWS)]}
    table = pa.table({name: pa.array(columns[name]).cast(SCHEMA.field(name).type) for name in SCHEMA.names})
    some = Manifest.open(next(scratch.rglob("dataset.json")).parent).info
    (scratch / "large").mkdir()
    write(scratch / "large", replace(some, samples=ROWS), table.cast(SCHEMA))
    words = (
        "import sys, time; from pathlib import Path; from viewstream.shards import Manifest; "
        "lines = lambda: Path('/proc/self/status').read_text().splitlines(); "
        "use = lambda: next(int(x.split()[1]) / 1024 for x in lines() if x.startswith('VmHWM')); before = use(); "
        "at = time.perf_counter(); data = Manifest.open(sys.argv[1]); "
        "print(time.perf_counter() - at, use() - before, use())"
    )
    command = [sys.executable, "-c", words, str(scratch / "large")]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() for _ in range(5)]
    seconds, more, whole = (statistics.median(float(run[n]) for run in runs) for n in range(3))
    return {"seconds": seconds, "MiB more": more, "MiB of the process": whole}


def measure(todo: dict[str, Callable[[Path], Any]], pictures: int, options: Bench, scratch: Path) -> dict[str, float]:
    """Median images a second of each case; the first round warms caches and is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in todo}
    for number in range(options.rounds + 1):
        for name, case in todo.items():
            out = scratch / "out"
            out.mkdir()
            start = time.perf_counter()
            case(out)
            if number:
                rates[name].append(pictures / (time.perf_counter() - start))
            shutil.rmtree(out)
    return {name: statistics.median(values) for name, values in rates.items()}


def ratios(rates: dict[str, float], workers: int) -> dict[str, float]:
    """What the targets are about."""
    keep, again = rates["keep to tar"], rates["400 px to tar"]
    made = {
        "keep to tar / cp": keep / rates["cp"],
        "keep to tar, one worker, images a second": rates["keep to tar, one worker"],
        "400 px to tar / (bare codecs x cores)": again / (rates["bare codecs, one core"] * workers),
    }
    if "ffcv DatasetWriter, 400 px" in rates:
        made["400 px to beton / ffcv DatasetWriter"] = rates["400 px to beton"] / rates["ffcv DatasetWriter, 400 px"]
        made["400 px to tar / webdataset ShardWriter"] = again / rates["webdataset ShardWriter, 400 px"]
    return made


def main() -> None:
    (options,) = parse(Bench(), description=__doc__ or "")
    workers = options.workers or cores()
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        scratch = Path(name)
        paths = copied(options, scratch / "pictures")
        build(BuildOptions(source=scratch / "pictures", out=scratch / "set", workers=1, keep=True))
        found: dict[str, Any] = {"manifest of 1,281,167 rows": opening(scratch)}
        shutil.rmtree(scratch / "large")
        rates = measure(cases(paths, scratch / "pictures", options), len(paths), options, scratch)
    found |= {"pictures": len(paths), "workers": workers, "pictures_per_second": rates}
    found |= {"ratios": ratios(rates, workers)}
    print(f"{len(paths)} images, {workers} workers of {os.cpu_count()} cores")
    for name, rate in rates.items():
        print(f"{name:<32} {rate:8.0f} pictures/s")
    for name, value in {**found["ratios"], **found["manifest of 1,281,167 rows"]}.items():
        print(f"{name:<44} {value:8.2f}")
    if options.out:
        with atomic(Path(options.out), "w") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    run(main)
