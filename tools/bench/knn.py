"""Time and memory of kNN on features, against a bare matrix product and topk of the same sizes.

Cases alternate (A B C A B C ...), and medians of processor time are compared. The bare case multiplies a slice of
queries by the whole bank and takes the top k; it has no labels, no other spaces and no memory limit.

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
from typing import TYPE_CHECKING, Annotated

from viewstream.shards.cli import parse, run
from viewstream.shards.files import atomic
from viewstream.tools.bench.measuring.rounds import in_rounds

if TYPE_CHECKING:
    from torch import Tensor

PAGE, MIB = os.sysconf("SC_PAGE_SIZE"), 2**20


@dataclass(frozen=True)
class Bench:
    """What to measure"""

    bank: Annotated[int, "features in the bank", 200] = 50_000
    queries: Annotated[int, "features to classify", 1] = 10_000
    dim: Annotated[int, "size of a feature", 1] = 512
    classes: Annotated[int, "classes of the labels", 1] = 10
    rounds: Annotated[int, "measured rounds, after one warm-up round", 1] = 3
    out: Annotated[Path | None, "JSON to write"] = None


def bare(bank: "Tensor", queries: "Tensor", k: int) -> None:
    """Similarities and the k largest per query."""
    from viewstream.trainers.evals.neighbors import SLICE

    for part in queries.split(SLICE):
        (part @ bank.T).topk(k, dim=1)


def cost(case: Callable[[], object]) -> tuple[float, float]:
    """Seconds of processor time, and peak MiB above the resident memory before the call."""
    before, peak, done = _resident(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, _resident() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.process_time()
    case()
    spent = time.process_time() - start
    done.set()
    watcher.join()
    return spent, peak


def _resident() -> float:
    """Resident memory of this process, MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / MIB


def bench(options: Bench) -> dict[str, dict[str, float]]:
    """Median seconds and MiB of each case, which are printed and written to `options.out`."""
    import torch  # after --help, which needs none

    from viewstream.trainers.evals.knn import best_nn, weighted

    generator = torch.Generator().manual_seed(0)
    bank, queries = (torch.randn(n, options.dim, generator=generator) for n in (options.bank, options.queries))
    labels, truth = (torch.randint(options.classes, (n,), generator=generator) for n in (len(bank), len(queries)))
    features = (bank, labels, queries, truth)
    cases: dict[str, tuple[str, Callable[[], object]]] = {  # name -> the bare case to compare with, call
        "bare, k 200": ("", lambda: bare(bank, queries, 200)),
        "weighted, k 200": ("bare, k 200", lambda: [*weighted(*features, k=200)]),
        "bare, k 101": ("", lambda: bare(bank, queries, 101)),
        "best-NN to 101, norm": ("bare, k 101", lambda: [*best_nn(*features, max_k=101, space="norm")]),
    }
    costs = in_rounds(cases, options.rounds, lambda name, _: cost(cases[name][1]))
    results: dict[str, dict[str, float]] = {}
    for name, (base, _) in cases.items():
        seconds, memory = (statistics.median(column) for column in zip(*costs[name], strict=True))
        results[name] = {"seconds": seconds, "MiB": memory}
        ratio = f"  {seconds / results[base]['seconds']:.2f} of the bare case" if base else ""
        print(f"{name:>22}  {seconds:7.2f} s  {memory:6.0f} MiB above the features{ratio}")
    if options.out:
        with atomic(options.out, "w") as file:
            json.dump(results, file, indent=1)
    return results


def main() -> None:
    (options,) = parse(Bench(), description=__doc__ or "")
    bench(options)


if __name__ == "__main__":
    run(main)
