"""Time that a loader takes from the thread that launches steps: launches per second alone, beside a loader in this
process, and beside the same loader in a process of its own.

A step is many small operations, as on a GPU that waits for its launches. The samples of the loader sleep as long as a
decode and two crops take, so that more threads can be tried than there are cores: what they share with the launching
thread is the interpreter. Cases alternate; medians are compared.

  python tools/bench/launching.py --threads 1,4,12,24 --out docs/results/launching_cpu.json
"""

import json
import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Annotated

from viewstream.shards.cli import parse, run

# isort: split
import numpy as np

from viewstream.augment.recipes import moco_v2
from viewstream.pipeline.plan.order import Plan
from viewstream.shards.files import atomic
from viewstream.shards.formats.reader import SampleReader
from viewstream.shards.memory import in_memory
from viewstream.tools.bench.measuring.rounds import in_rounds

SIDE = 16  # px: cropping as good as nothing
SAMPLES = 1 << 16


@dataclass(frozen=True)
class Bench:
    """What to measure"""

    threads: Annotated[tuple[int, ...], "threads of the loader", 1] = (1, 4, 12, 24)
    sample_ms: Annotated[float, "milliseconds that a sample sleeps", 0.01] = 5.0
    seconds: Annotated[float, "length of a case", 0.01] = 2.0
    rounds: Annotated[int, "measured rounds, after one warm-up round", 1] = 5
    out: Annotated[Path | None, "JSON to write"] = None


class Sleeping(SampleReader):
    """A reader whose samples take `seconds` each, without work."""

    def __init__(self, seconds: float):
        self.seconds, self.image = seconds, np.zeros((SIDE, SIDE, 3), np.uint8)

    def read(self, row: int) -> np.ndarray:
        time.sleep(self.seconds)
        return self.image

    def locate(self, row: int) -> str:
        return f"sample {row}"


def load(threads: int, seconds: float, ready: threading.Event | Event, stop: threading.Event | Event) -> None:
    """Run a loader at full speed until `stop`."""
    from viewstream.pipeline.loader import ViewLoader  # with torch, after --help, which needs none
    from viewstream.pipeline.options import LoaderOptions

    keys = [str(row) for row in range(SAMPLES)]
    data = in_memory("sleeping", keys, np.zeros(SAMPLES, int), np.full((SAMPLES, 2), SIDE), ["all"])
    options = LoaderOptions(threads=threads)
    with closing(ViewLoader(data, Plan(SAMPLES, 256), moco_v2(SIDE), Sleeping(seconds), options)) as loader:
        for _ in loader.host_batches(0):
            ready.set()
            if stop.is_set():
                return


@contextmanager
def beside(threads: int, seconds: float, where: str) -> Iterator[None]:
    """A loader of `threads` threads in this process ("here"), in another ("apart"), or none ("alone")."""
    if where == "alone":
        yield
        return
    if where == "here":
        ready, stop = threading.Event(), threading.Event()
        worker = threading.Thread(target=load, args=(threads, seconds, ready, stop))
    else:
        spawn = multiprocessing.get_context("spawn")
        ready, stop = spawn.Event(), spawn.Event()
        worker = spawn.Process(target=load, args=(threads, seconds, ready, stop))
    worker.start()
    try:
        while not ready.wait(1):
            if not worker.is_alive():
                raise RuntimeError("the loader has ended before its first batch: its error is printed above")
        yield
    finally:
        stop.set()
        worker.join()


def launches(seconds: float) -> float:
    """Small operations per second of this thread."""
    import torch

    x, count, begin = torch.zeros(8), 0, time.perf_counter()
    while (spent := time.perf_counter() - begin) < seconds:
        for _ in range(100):
            x.add_(1.0).mul_(0.5)
        count += 200
    return count / spent


def measure(options: Bench, threads: int) -> dict[str, float]:
    """Median launches per second of each case."""

    def case(where: str, _: int) -> float:
        with beside(threads, options.sample_ms / 1000, where):
            return launches(options.seconds)

    found = in_rounds(("alone", "here", "apart"), options.rounds, case)
    return {where: statistics.median(rates) for where, rates in found.items()}


def main() -> None:
    (options,) = parse(Bench(), description=__doc__ or "")
    import torch

    torch.set_num_threads(1)
    results: dict[str, dict[str, float]] = {}
    for threads in options.threads:
        rates = results[str(threads)] = measure(options, threads)
        shares = {where: rates[where] / rates["alone"] for where in ("here", "apart")}
        samples = threads * 1000 / options.sample_ms
        print(
            f"{threads:3d} threads, {samples:6.0f} samples/s: {rates['alone'] / 1000:.0f}k launches/s alone, "
            f"{shares['here']:.2f} of it beside the loader's threads, {shares['apart']:.2f} beside its process"
        )
    if options.out:
        with atomic(options.out, "w") as file:
            json.dump({"sample_ms": options.sample_ms, "launches_per_second": results}, file, indent=1)


if __name__ == "__main__":
    run(main)
