"""Samples per second of every loader on one machine in one run: the host's work, all views cropped, no color work
(--rendered: whole views).

Cases alternate (A B C A B C ...). The median of a case is compared with the floor: decoding the same JPEGs from memory
with the same threads, nothing else. Ratios are comparable across days, absolute numbers are not. `decoded only` is the
host's work under --crops device. Beside each rate stands the processor time per sample, worker processes included, on
which other programs have less influence. Without --rendered the last line names what limits the speed, and what to
change.

  python tools/bench/loader.py --data data/shards/imagenet-lt6-train --loader all --views moco_v2 --peers
  python tools/bench/loader.py --data data/shards/cifar-train --loader ffcv,memory --size 32 --batch-size 256 --rendered
"""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from viewstream.augment.recipes import views_of
from viewstream.augment.spec import RandomResizedCrop
from viewstream.pipeline.timing import Times
from viewstream.pipeline.workers import share_of_cores
from viewstream.shards.cli import Renamed, parse, run
from viewstream.shards.errors import UserError, needs
from viewstream.tools.bench.loaders.job import Case, Job
from viewstream.tools.bench.measuring.rounds import costs


@dataclass(frozen=True)
class Bench:
    """What to measure"""

    data: Annotated[str, "a built data set"] = ""
    loader: Annotated[str, "all that read files, or some of those of train.py, with commas between them"] = "all"
    views: Annotated[str, "augmentation recipe, for its crops and flips", Renamed("recipe")] = "moco_v2"
    size: Annotated[int, "side of a (large) view, px", 8] = 224
    batch_size: Annotated[int, "samples per batch", 1] = 64
    batches: Annotated[int, "batches per round, at most one epoch", 1] = 100
    rounds: Annotated[int, "measured rounds, after one warm-up round", 1] = 5
    workers: Annotated[int, "threads, also of the peers (the cores available)", 0] = 0
    rendered: Annotated[bool, "whole views of our loaders, color work and normalization too"] = False
    peers: Annotated[bool, "also other loaders on the same images, if they are installed"] = False
    out: Annotated[Path | None, "JSON to write, and a PNG beside it"] = None


def measured(todo: dict[str, Case], rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Medians of each case: samples per second, and us of processor time per sample."""
    found = costs(todo, rounds)
    rates = {name: 1e6 / statistics.median(cost.wall) for name, cost in found.items()}
    return rates, {name: statistics.median(cost.cpu) for name, cost in found.items()}


def main() -> None:
    (options,) = parse(Bench(), description=__doc__ or "")
    if not options.data:
        raise UserError("no data set to measure: name one with --data data/shards/<name>")
    if options.out:
        needs("matplotlib")

    from viewstream.pipeline.choose import open_set  # with torch, after --help, which needs none
    from viewstream.tools.bench.loaders.cases import cases
    from viewstream.tools.bench.loaders.report import report
    from viewstream.tools.bench.peers.table import PEERS, peers_of

    manifest, threads = open_set(options.data), options.workers or share_of_cores()
    views = views_of(options.views, options.size)
    crops = [view[0] for view in views if isinstance(view[0], RandomResizedCrop)]
    if not crops:
        raise UserError(f"--views {options.views} makes no random crops: choose a recipe that does")
    job = Job(manifest, crops, options.batch_size, options.batches, threads, options.rendered)
    times: dict[str, Times] = {}
    others, left_out = peers_of(job, PEERS if options.peers else ())
    for name, reason in left_out.items():
        print(f"{name} is left out: {reason}")
    rates, processor = measured(cases(job, views, options.loader, times) | others, options.rounds)
    report(job, views, rates, processor, times, options.out)


if __name__ == "__main__":
    run(main)
