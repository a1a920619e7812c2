"""Images per second of the builder in one run, against `cp`, bare codecs, and the writers of ffcv and webdataset.

Cases alternate (A B C A B C ...), and medians are compared. Ratios are comparable across days, absolute numbers are
not. The start-up of the workers counts; --repeat copies of the images make it small, as in a real data set.

  python tools/bench/build.py --source data/imagenet --scratch /dev/shm
"""

import json
import os
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.cli import parse, run
from viewstream.shards.engine import cores
from viewstream.shards.errors import UserError
from viewstream.shards.files import atomic
from viewstream.tools.bench.build_cases import WHOLE, Case, cases, codecs_alone
from viewstream.tools.bench.manifest import time_opening
from viewstream.tools.bench.measuring.rounds import in_rounds

OPENING = "manifest of 1,281,167 rows"
ALONE = "us of processor time an image to 400 px, one core"


@dataclass(frozen=True)
class Bench:
    """What to measure"""

    source: Annotated[Path | None, "folder with JPEGs, searched to any depth"] = None
    repeat: Annotated[int, "copies of the images, to make start-up small", 1] = 8
    rounds: Annotated[int, "measured rounds, after one warm-up round", 1] = 3
    workers: Annotated[int, "processes, also of the other writers (the cores available)", 0] = 0
    scratch: Annotated[Path | None, "folder for copies and output; a folder in memory excludes the disk"] = None
    peers: Annotated[bool, "also ffcv's DatasetWriter and webdataset's ShardWriter"] = True
    out: Annotated[Path | None, "JSON to write"] = None


def copy_images(source: Path | None, repeat: int, folder: Path) -> list[Path]:
    """Copy every JPEG under `source` `repeat` times, to class folders `folder`/train/copy0, ...; returns the copies."""
    if source is None or not source.is_dir():
        raise UserError("--source names no folder of JPEGs to measure with: name one")
    found = sorted(p for p in source.rglob("*") if p.suffix.lower() in (".jpeg", ".jpg"))
    if not found:
        raise UserError(f"{source} holds no JPEGs: name a folder that does")
    copies: list[Path] = []
    for copy in range(repeat):
        (folder / "train" / f"copy{copy}").mkdir(parents=True)
        for number, path in enumerate(found):
            copies.append(folder / "train" / f"copy{copy}" / f"{number:06d}.JPEG")
            shutil.copyfile(path, copies[-1])
    return copies


def rates_of(todo: dict[str, Case], images: int, rounds: int, scratch: Path) -> dict[str, float]:
    """Median images per second of each case; a case's output is removed after it is timed."""

    def rate(name: str, _: int) -> float:
        out = scratch / "out"
        out.mkdir()
        start = time.perf_counter()
        todo[name](out)
        took = time.perf_counter() - start
        shutil.rmtree(out)
        return images / took

    return {name: statistics.median(values) for name, values in in_rounds(todo, rounds, rate).items()}


def ratios_of(rates: dict[str, float], alone: dict[str, float], workers: int) -> dict[str, float]:
    """The figures that have targets."""
    keep, resized = rates["keep to tar"], rates["400 px to tar"]
    ratios = {
        "keep to tar / cp": keep / rates["cp"],
        "keep to tar, one worker, images per second": rates["keep to tar, one worker"],
        "400 px to tar / (bare codecs x cores)": resized / (rates["bare codecs, one core"] * workers),
        "(decode + encode alone) / all of re-encoding": (alone["decode"] + alone["encode"]) / alone[WHOLE],
    }
    if "ffcv DatasetWriter, 400 px" in rates:
        ratios["400 px to beton / ffcv DatasetWriter"] = rates["400 px to beton"] / rates["ffcv DatasetWriter, 400 px"]
        ratios["400 px to tar / webdataset ShardWriter"] = resized / rates["webdataset ShardWriter, 400 px"]
    return ratios


def measure(options: Bench, workers: int, scratch: Path) -> dict[str, Any]:
    """All measurements, as --out keeps them."""
    source = scratch / "images"
    paths = copy_images(options.source, options.repeat, source)
    info = build(BuildOptions(source=source, out=scratch / "set", workers=1, keep=True)).info
    results: dict[str, Any] = {OPENING: time_opening(info, scratch / "large")}
    shutil.rmtree(scratch / "large")
    alone = codecs_alone(paths[: len(paths) // options.repeat], options.rounds)  # each image once
    rates = rates_of(cases(paths, source, workers, options.peers), len(paths), options.rounds, scratch)
    results |= {"pictures": len(paths), "workers": workers, "pictures_per_second": rates, ALONE: alone}
    return results | {"ratios": ratios_of(rates, alone, workers)}


def main() -> None:
    (options,) = parse(Bench(), description=__doc__ or "")
    workers = options.workers or cores()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        results = measure(options, workers, Path(scratch))
    print(f"{results['pictures']} images, {workers} workers of {os.cpu_count()} cores")
    for name, rate in results["pictures_per_second"].items():
        print(f"{name:<32} {rate:8.0f} images/s")
    for name, value in {**results[ALONE], **results["ratios"], **results[OPENING]}.items():
        print(f"{name:<44} {value:8.2f}")
    if options.out:
        with atomic(options.out, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    run(main)
