"""Samples a second of every loader on one machine in one run: host side, all views cut, no color work.

Rounds go through the cases in turn (A B C A B C ...), the median of a case is compared with the floor: decoding the
same JPEGs from memory with the same threads, nothing else. Ratios carry over to other days, absolute numbers do not.
`decoded only` is what the host does for --crops device. Ends with what limits, and what to change.

  python tools/bench/loader.py --data data/shards/imagenet-lt6-train --loader all --views moco_v2 --peers
"""

import json
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import simplejpeg

from viewstream.augment.recipes import views_of
from viewstream.augment.spec import HorizontalFlip, Normalize, RandomResizedCrop, Views, size_of
from viewstream.pipeline.choose import LOADERS, READERS, open_loader, open_reader, open_set
from viewstream.pipeline.loader import ViewLoader
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.plan.orders import WindowShuffle
from viewstream.pipeline.timing import Times
from viewstream.pipeline.workers import share_of_cores
from viewstream.shards.cli import Renamed, parse, run
from viewstream.shards.errors import UserError, choose, needs
from viewstream.shards.files import atomic
from viewstream.tools.bench.peers import PEERS, Case, Job

FLOOR = "floor: decode only"


@dataclass(frozen=True)
class Bench:
    """What to measure"""

    data: Annotated[str, "a built data set"] = ""
    loader: Annotated[str, f"all, or one of {', '.join(LOADERS)}"] = "all"
    views: Annotated[str, "augmentation recipe, for its crops and flips", Renamed("recipe")] = "moco_v2"
    size: Annotated[int, "side of a (large) view, px", 8] = 224
    batch_size: Annotated[int, "samples a batch", 1] = 64
    batches: Annotated[int, "batches a round, at most an epoch", 1] = 100
    rounds: Annotated[int, "measured rounds, after one that is not", 1] = 5
    workers: Annotated[int, "threads, of the peers too (the cores that are there)", 0] = 0
    peers: Annotated[bool, "also what others do with the same images, where it is installed"] = False
    out: Annotated[Path | None, "JSON to write, and a PNG beside it"] = None


def floor(job: Job) -> Case:
    """Decoding alone, bytes in memory, a reused buffer a thread."""
    manifest = job.manifest
    reader = open_reader(next(d for d in READERS if d in manifest.info.formats), manifest)
    with closing(reader):
        jpegs = [data for row in range(job.samples) if isinstance(data := reader.read(row), bytes)]
    largest = int((manifest.height.astype(np.int64) * manifest.width).max()) * 3
    pool = ThreadPoolExecutor(job.threads)

    def decode(part: list[bytes]) -> int:
        buffer = np.empty(largest, np.uint8)
        for data in part:
            simplejpeg.decode_jpeg(data, buffer=buffer)
        return len(part)

    chunks = [jpegs[at : at + 16] for at in range(0, len(jpegs), 16)]
    return lambda epoch: sum(pool.map(decode, chunks))  # pyright: ignore


def ours(name: str, job: Job, views: Views, times: dict[str, Times], *, crop_on_device: bool = False) -> Case:
    """One of our loaders; DALI's normalizes too, since its graph goes on to the end."""
    order = WindowShuffle(job.manifest.shard) if name == "webdataset-stream" else None
    plan = Plan(len(job.manifest), job.batch, order=order)
    if name == "dali":
        views = tuple((view[0], HorizontalFlip(), Normalize()) for view in views)
    crops = "device" if crop_on_device else "host"
    loader = open_loader(name, job.manifest, plan, views, threads=job.threads, crops=crops)
    if not isinstance(loader, ViewLoader):
        return lambda epoch: sum(len(b.index) for b in islice(loader.epoch(epoch), job.batches))
    times[name + ", decoded only" * crop_on_device] = loader.times

    def case(epoch: int) -> int:
        with closing(loader.host_batches(epoch)) as batches:
            return sum(len(host.index) for host in islice(batches, job.batches))

    return case


def cases(job: Job, views: Views, options: Bench, times: dict[str, Times]) -> dict[str, Case]:
    there = job.manifest.info.formats
    names = [n for n in READERS if n.partition("-")[0] in there]
    if options.loader != "all":
        names = [choose("loader", options.loader, LOADERS)]
    elif find_spec("nvidia") and find_spec("nvidia.dali"):
        names.append("dali")
    made = {FLOOR: floor(job)} | {name: ours(name, job, views, times) for name in names}
    if (reader := "webdataset" if "webdataset" in names else names[0]) != "dali":
        made[f"{reader}, decoded only"] = ours(reader, job, views, times, crop_on_device=True)
    for name, (package, form, peer) in PEERS.items() if options.peers else ():
        if form in there and find_spec(package.partition(".")[0]) and find_spec(package):
            made[name] = peer(job)
        else:
            print(f"{name} is left out: it needs {package} and a set in format {form}")
    return made


def measure(todo: dict[str, Case], rounds: int) -> dict[str, float]:
    """Median samples a second of each case; the first round warms caches and compilers and is not counted."""
    rates: dict[str, list[float]] = {name: [] for name in todo}
    for number in range(rounds + 1):
        for name, case in todo.items():
            print(f"\rround {number} of {rounds}: {name:<28}", end="", file=sys.stderr, flush=True)
            start = time.perf_counter()
            samples = case(number)
            if number:
                rates[name].append(samples / (time.perf_counter() - start))
    print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
    return {name: statistics.median(values) for name, values in rates.items()}


def verdict(times: Times, threads: int, ratio: float) -> str:
    """What limits a loader, and what to change."""
    work = {stage: times[stage] for stage in ("read", "decode", "cut")}
    own = times["draw"] / max(1e-9, times["draw"] + times["wait"])
    share = {stage: seconds / sum(work.values()) for stage, seconds in work.items()}
    most = max(share, key=lambda stage: share[stage])
    remedy = {
        "read": "a nearer disk, fewer and larger reads (--loader ffcv or webdataset), or more --workers for a far one",
        "decode": "more cores, smaller images (--max-side, --quality), raw ones (--raw-fraction), a GPU's decoder",
        "cut": "smaller views, or --crops device where a GPU has room",
    }[most]
    parts = ", ".join(f"{stage} {part:.0%}" for stage, part in share.items())
    return (
        f"{most} limits ({parts} of the threads' time on {threads} threads; drawing {own:.1%} of the consumer's); "
        f"{ratio:.2f} of decoding alone. To go faster: {remedy}"
    )


def picture(rates: dict[str, float], title: str, path: Path) -> None:
    """Bars, as shares of the floor."""
    plt = needs("matplotlib.pyplot")
    plt.switch_backend("agg")
    names = list(rates)[::-1]
    figure, axes = plt.subplots(figsize=(8, 0.45 * len(names) + 1.2), layout="constrained")
    shares = [rates[name] / rates[FLOOR] for name in names]
    bars = axes.barh(names, shares, color=["#999999" if n in PEERS else "#bbbbdd" if n == FLOOR else "#3355bb"
                                           for n in names])  # fmt: skip
    axes.bar_label(bars, [f"{share:.2f}" for share in shares], padding=3)
    axes.set_xlabel("samples a second, as a share of decoding alone")
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    (options,) = parse(Bench(), description=__doc__ or "")
    if not options.data:
        raise UserError("no data set to measure: name one with --data data/shards/<name>")
    manifest, threads = open_set(options.data), options.workers or share_of_cores()
    views = views_of(options.views, options.size)
    crops = [view[0] for view in views if isinstance(view[0], RandomResizedCrop)]
    if not crops:
        raise UserError(f"--views {options.views} makes no random crops: choose one that does")
    job = Job(manifest, crops, options.batch_size, options.batches, threads)
    times: dict[str, Times] = {}
    rates = measure(cases(job, views, options, times), options.rounds)
    report(job, options, views, rates, times)


def report(job: Job, options: Bench, views: Views, rates: dict[str, float], times: dict[str, Times]) -> None:
    """The table, the verdict, and the files of --out."""
    sizes = "+".join(f"{sum(size_of(v) == s for v in views)}x{s}" for s in dict.fromkeys(map(size_of, views)))
    title = f"{job.manifest.info.name}, {len(job.manifest)} images, views {sizes} px, {job.threads} threads"
    print(f"{title} of {os.cpu_count()} cores")
    peers = [name for name in PEERS if name in rates]
    for name, rate in rates.items():
        against = "".join(f"  {rate / rates[peer]:6.2f} x {peer}" for peer in peers if name not in peers)
        print(f"{name:<28} {rate:8.0f} samples/s  {rate / rates[FLOOR]:5.2f} of the floor{against}")
    for name, spent in times.items():
        print(f"{name:<28} {spent.table()}")
    best = max(times, key=lambda name: 0.0 if "only" in name else rates[name], default="")
    told = verdict(times[best], job.threads, rates[best] / rates[FLOOR]) if best else ""
    print(f"verdict, {best}: {told}" if best else "")
    if options.out:
        page: dict[str, Any] = {"samples_per_second": rates, "threads": job.threads, "views": sizes, "verdict": told}
        page["seconds"] = {name: dict(spent) for name, spent in times.items()}
        with atomic(options.out, "w") as file:
            json.dump(page, file, indent=1)
        picture(rates, title, options.out.with_suffix(".png"))


if __name__ == "__main__":
    run(main)
