"""Samples a second of every loader on one machine in one run: host side, all views cut, no colour work.

Rounds go through the cases in turn (A B C A B C ...), the median of a case is compared with the floor: decoding the
same JPEGs from memory with the same threads, nothing else. Ratios carry over to other days, absolute numbers do not.

  python tools/bench_loader.py --data data/shards/imagenet-lt6-train --peers
"""

import json
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import simplejpeg

from viewstream.augment.recipes import VIEWS
from viewstream.augment.spec import Crop, Views, size_of
from viewstream.pipeline.choose import DOORS, open_door
from viewstream.pipeline.order import Plan
from viewstream.pipeline.stream import Stream, share_of_cores
from viewstream.shards.cli import parse, run
from viewstream.shards.errors import UserError, choose, needs
from viewstream.shards.files import atomic
from viewstream.shards.manifest import Manifest

Case = Callable[[int], int]  # epoch -> samples delivered


@dataclass(frozen=True)
class Bench:
    """What to measure"""

    data: Annotated[str, "a built data set"] = ""
    loader: Annotated[str, "all, or folder, webdataset or ffcv"] = "all"
    views: Annotated[Literal["moco_v1", "moco_v2"], "augmentation recipe, for its crops and flips"] = "moco_v2"
    size: Annotated[int, "side of a view, px", 8] = 224
    batch_size: Annotated[int, "samples a batch", 1] = 64
    batches: Annotated[int, "batches a round, at most an epoch", 1] = 100
    rounds: Annotated[int, "measured rounds, after one that is not", 1] = 5
    workers: Annotated[int, "threads, of the peers too (the cores that are there)", 0] = 0
    peers: Annotated[bool, "also stock ffcv (one pipeline a view) and torchvision (ImageFolder + DataLoader)"] = False
    out: Annotated[str, "JSON to write"] = ""


def floor(manifest: Manifest, options: Bench, threads: int) -> Case:
    """Decoding alone, bytes in memory, a reused buffer a thread."""
    door = open_door("webdataset" if "webdataset" in manifest.info.formats else manifest.info.formats[0], manifest)
    samples = min(options.batches * options.batch_size, len(manifest))
    jpegs = [door.read(row) for row in range(samples)]
    largest = int((manifest.height.astype(np.int64) * manifest.width).max()) * 3
    pool = ThreadPoolExecutor(threads)

    def decode(part: list[bytes]) -> int:
        buffer = np.empty(largest, np.uint8)
        for data in part:
            simplejpeg.decode_jpeg(data, buffer=buffer)
        return len(part)

    chunks = [jpegs[at : at + 16] for at in range(0, samples, 16)]
    return lambda epoch: sum(pool.map(decode, chunks))  # pyright: ignore


def ours(name: str, manifest: Manifest, options: Bench, threads: int) -> Case:
    """One of our doors."""
    plan = Plan(len(manifest), options.batch_size)
    views = VIEWS[options.views](options.size)
    stream = Stream(manifest, plan, views, open_door(name, manifest), threads=threads)
    return lambda epoch: sum(len(h.index) for h in islice(stream.host_batches(epoch), options.batches))


def stock_ffcv(manifest: Manifest, options: Bench, threads: int) -> Case:
    """ffcv as released: a pipeline a view, each decoding the JPEG again; crops by its own INTER_AREA resize."""
    loader_type, order = needs("ffcv.loader").Loader, needs("ffcv.loader").OrderOption.RANDOM
    spec = needs("ffcv.pipeline.pipeline_spec").PipelineSpec
    image, moves = needs("ffcv.fields.rgb_image"), needs("ffcv.transforms")

    def pipeline(crop: Crop) -> object:
        decoder = image.RandomResizedCropRGBImageDecoder((crop.size, crop.size), scale=crop.area, ratio=crop.ratio)
        return spec("image", decoder=decoder, transforms=[moves.RandomHorizontalFlip(), moves.ToTensor()])

    pipelines = {f"view{i}": pipeline(crop) for i, crop in enumerate(crops(options))}
    loader = loader_type(
        str(manifest.beton_path()), options.batch_size, num_workers=threads, order=order, drop_last=True,
        os_cache=True, pipelines={**pipelines, "image": None, "label": None},
    )  # fmt: skip
    return lambda epoch: sum(len(batch[0]) for batch in islice(iter(loader), options.batches))


def torchvision_folder(manifest: Manifest, options: Bench, threads: int) -> Case:
    """ImageFolder and DataLoader with the same crops and flips in PIL."""
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    manifest.require("folder")
    moves = [
        transforms.Compose(
            [transforms.RandomResizedCrop(c.size, c.area, c.ratio), transforms.RandomHorizontalFlip(),
             transforms.PILToTensor()]
        )
        for c in crops(options)
    ]  # fmt: skip
    data = ImageFolder(str(manifest.root / "folder"), transform=partial(_each, moves))
    loader = DataLoader(data, options.batch_size, shuffle=True, num_workers=threads, drop_last=True,
                        persistent_workers=True)  # fmt: skip
    return lambda epoch: sum(len(batch[1]) for batch in islice(loader, options.batches))


def _each(moves: list[Callable[[object], object]], image: object) -> list[object]:
    return [move(image) for move in moves]


def crops(options: Bench) -> list[Crop]:
    """The recipe's first ops."""
    views: Views = VIEWS[options.views](options.size)
    return [view[0] for view in views if isinstance(view[0], Crop)]


def cases(manifest: Manifest, options: Bench, threads: int) -> dict[str, Case]:
    names = [n for n in DOORS if n in manifest.info.formats]
    if options.loader != "all":
        names = [choose("loader", options.loader, DOORS)]
    made = {"floor: decode only": floor(manifest, options, threads)}
    made |= {name: ours(name, manifest, options, threads) for name in names}
    if options.peers:
        made["stock ffcv"] = stock_ffcv(manifest, options, threads)
        made["torchvision folder"] = torchvision_folder(manifest, options, threads)
    return made


def measure(todo: dict[str, Case], rounds: int) -> dict[str, float]:
    """Median samples a second of each case; the first round warms caches and compilers and is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in todo}
    for number in range(rounds + 1):
        for name, case in todo.items():
            start = time.perf_counter()
            samples = case(number)
            if number:
                rates[name].append(samples / (time.perf_counter() - start))
            print(f"\rround {number} of {rounds}: {name:<24}", end="", flush=True)
    print()
    return {name: statistics.median(values) for name, values in rates.items()}


def main() -> None:
    (options,) = parse(Bench(), about=__doc__ or "")
    if not options.data:
        raise UserError("no data set to measure: name one with --data data/shards/<name>")
    manifest, threads = Manifest.open(options.data), options.workers or share_of_cores()
    rates = measure(cases(manifest, options, threads), options.rounds)
    base, stock = rates["floor: decode only"], rates.get("stock ffcv")
    sizes = "+".join(str(size_of(v)) for v in VIEWS[options.views](options.size))
    print(
        f"{manifest.info.name}, {len(manifest)} images, views {sizes} px, {threads} threads of {os.cpu_count()} cores"
    )
    for name, rate in rates.items():
        against = f"   x stock ffcv {rate / stock:5.2f}" if stock else ""
        print(f"{name:<24} {rate:8.0f} samples/s   of the floor {rate / base:5.2f}{against}")
    if options.out:
        with atomic(Path(options.out), "w") as file:
            json.dump({"samples_per_second": rates, "threads": threads, "views": sizes}, file, indent=1)


if __name__ == "__main__":
    run(main)
