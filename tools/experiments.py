"""Experiments: what the methods learn on images that anyone can get, with seeds, minutes and commands.

python tools/experiments.py --list
python tools/experiments.py --run cifar10 --cifar10 DIR --caltech101 FILE
python tools/experiments.py --table

An experiment consists of pieces, runs of at most ten minutes on a CPU and what is measured of them. A piece leaves one
small JSON in docs/results/learning, from which the tables and figures of the pages are made. The same command, or
--resume for all that was begun, goes on after an interruption.
"""

import os
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Literal

from viewstream.shards.cli import parse, run
from viewstream.shards.engine import cores
from viewstream.shards.errors import UserError, choose
from viewstream.tools.learning import EXPERIMENTS
from viewstream.tools.learning.pages import write_pages
from viewstream.tools.learning.work import KEPT, Work, work_off


@dataclass(frozen=True)
class Experiments:
    """What to do"""

    list: Annotated[bool, "name the experiments, their pieces, and which of them are done"] = False
    run: Annotated[str, "work off EXPERIMENT, or EXPERIMENT/PIECES, as in cifar10/moco-*"] = ""
    resume: Annotated[bool, "go on with all experiments that were begun"] = False
    table: Annotated[bool, "print the tables, and write them and the figures into README and docs"] = False
    cifar10: Annotated[str, "folder of CIFAR-10: train-*.parquet and test-*.parquet"] = os.environ.get("CIFAR10", "")
    caltech101: Annotated[str, "archive or folder of Caltech-101"] = os.environ.get("CALTECH101", "")
    work: Annotated[Path, "folder for sets, runs and weights"] = Path("data/experiments")
    kept: Annotated[Path, "folder of the numbers of pieces"] = KEPT if KEPT.parent.exists() else Path("learning")
    jobs: Annotated[int, "pieces at a time, with one thread each; 0: as many as there are cores", 0] = 0
    device: Annotated[Literal["cpu", "cuda"], "where networks are trained"] = "cpu"
    minutes: Annotated[float, "stop a training after so many, to go on at the next call; 0: never", 0] = 0.0


def show_list(options: Experiments) -> None:
    """Every experiment with its pieces."""
    for experiment in EXPERIMENTS.values():
        work = work_on(experiment.name, options)
        open_ones = [piece.name for piece in experiment.pieces if not work.done(piece)]
        print(f"{experiment.name}: {experiment.about}")
        print(f"  {len(experiment.pieces) - len(open_ones)} of {len(experiment.pieces)} pieces are done")
        if open_ones:
            print(f"  open: {' '.join(open_ones)}")


def work_on(name: str, options: Experiments) -> Work:
    """The experiment `name` with the folders and sources of the options."""
    sources = {"cifar10": options.cifar10, "caltech101": options.caltech101}
    on_cpu = {"threads": 1, "workers": 1} if options.device == "cpu" else {}
    always = {"device": options.device, "loader": "memory", **on_cpu}
    return Work(
        EXPERIMENTS[choose("experiment", name, EXPERIMENTS)],
        options.work,
        sources,
        kept=options.kept,
        always=always,
        minutes=options.minutes,
    )


def main() -> None:
    (options,) = parse(Experiments(), description=__doc__ or "")
    jobs = options.jobs or (cores() if options.device == "cpu" else 1)
    wanted = [options.run] * bool(options.run)
    if options.resume:
        wanted += [name for name in EXPERIMENTS if (options.work / "runs" / name).exists()]
    for name, _, pieces in (one.partition("/") for one in wanted):
        work = work_on(name, options)
        chosen = [piece for piece in work.experiment.pieces if fnmatch(piece.name, pieces or "*")]
        if not chosen:
            raise UserError(f"{name} has no piece {pieces}: --list names them")
        work_off(work, chosen, jobs)
    if options.list:
        show_list(options)
    if options.table:
        print(write_pages(options.kept))
    if not (wanted or options.list or options.table):
        raise UserError("nothing to do: --list shows the experiments, --run NAME works one off, --table shows numbers")


if __name__ == "__main__":
    run(main)
