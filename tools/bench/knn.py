"""Time and memory of kNN on features, against the bare matrix product and topk of the same sizes.

Rounds go through the cases in turn (A B C A B C ...), medians of processor time are compared. The bare case multiplies
a slice of queries by the whole bank and takes its best, and knows no labels, spaces or bounds of memory.

  python tools/bench/knn.py --bank 50000 --queries 10000 --dim 512
"""

import json
import os
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from viewstream.shards.cli import parse, run
from viewstream.shards.files import atomic
from viewstream.trainers.evals.knn import best_nn, weighted
from viewstream.trainers.evals.neighbors import SLICE

PAGE, MIB = os.sysconf("SC_PAGE_SIZE"), 2**20


@dataclass(frozen=True)
class Bench:
    """What to measure"""

    bank: Annotated[int, "features that vote", 200] = 50_000
    queries: Annotated[int, "features that ask", 1] = 10_000
    dim: Annotated[int, "size of a feature", 1] = 512
    classes: Annotated[int, "of the labels", 1] = 10
    rounds: Annotated[int, "measured rounds, after one that is not", 1] = 3
    out: Annotated[str, "JSON to write"] = ""


def bare(bank: Tensor, queries: Tensor, k: int) -> None:
    """Similarities and the best of them."""
    for part in queries.split(SLICE):
        (part @ bank.T).topk(k, dim=1)


def measured(case: Callable[[], object]) -> tuple[float, float]:
    """Seconds of all processors, and MiB above what was resident before."""
    before, most, done = _resident(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            most[0] = max(most[0], _resident() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.process_time()
    case()
    spent = time.process_time() - start
    done.set()
    watcher.join()
    return spent, most[0]


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / MIB


def bench(options: Bench) -> dict[str, dict[str, float]]:
    """Seconds, memory and the ratio to the bare case, of each case; the JSON has them."""
    generator = torch.Generator().manual_seed(0)
    bank, queries = (torch.randn(n, options.dim, generator=generator) for n in (options.bank, options.queries))
    labels, truth = (torch.randint(options.classes, (n,), generator=generator) for n in (len(bank), len(queries)))
    four = (bank, labels, queries, truth)
    cases: dict[str, tuple[str, Callable[[], object]]] = {
        "bare, k 200": ("", lambda: bare(bank, queries, 200)),
        "weighted, k 200": ("bare, k 200", lambda: [*weighted(*four, k=200)]),
        "bare, k 101": ("", lambda: bare(bank, queries, 101)),
        "best-NN to 101, norm": ("bare, k 101", lambda: [*best_nn(*four, max_k=101, space="norm")]),
    }
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for number in range(options.rounds + 1):
        for name, (_, case) in cases.items():
            found = measured(case)
            if number:
                seen[name].append(found)
    page: dict[str, dict[str, float]] = {}
    for name, (base, _) in cases.items():
        seconds, memory = (statistics.median(column) for column in zip(*seen[name], strict=True))
        page[name] = {"seconds": seconds, "MiB": memory}
        ratio = f"  {seconds / page[base]['seconds']:.2f} of it" if base else ""
        print(f"{name:>22}  {seconds:7.2f} s  {memory:6.0f} MiB above the features{ratio}")
    if options.out:
        with atomic(Path(options.out), "w") as file:
            json.dump(page, file, indent=1)
    return page


def main() -> None:
    (options,) = parse(Bench(), description=__doc__ or "")
    bench(options)


if __name__ == "__main__":
    run(main)
