"""The pieces of an experiment, in order: sets are made, pieces worked off, one small JSON of each is kept."""

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from viewstream.shards.errors import UserError
from viewstream.shards.files import atomic, make_folder
from viewstream.shards.programs import ROOT, started
from viewstream.tools.learning.calls import words
from viewstream.tools.learning.job import Job
from viewstream.tools.learning.kept import write_json
from viewstream.tools.learning.plan import Built, Experiment, Options, Piece, Weights
from viewstream.tools.learning.sets import before, building

KEPT = ROOT / "docs/results/learning"  # EXPERIMENT/PIECE.json


@dataclass(frozen=True)
class Work:
    """Where an experiment is worked on, from which sources, and where its numbers are kept."""

    experiment: Experiment
    folder: Path
    sources: dict[str, str]
    kept: Path = KEPT
    always: Options = field(default_factory=dict)  # of train.py and evaluate.py: how, not what
    minutes: float = 0  # after which a training is stopped, to go on at the next call; 0: never

    def run_of(self, name: str) -> Path:
        """The folder of a piece; its weights are there until no open piece needs them."""
        return self.folder / "runs" / self.experiment.name / name

    def set_of(self, name: str) -> Path:
        return self.folder / "sets" / name

    def page_of(self, piece: Piece) -> Path:
        return self.kept / self.experiment.name / f"{piece.name}.json"

    def done(self, piece: Piece) -> bool:
        return self.page_of(piece).exists()

    def trained(self, name: str) -> bool:
        """Whether the weights of a piece are here, and those of the end of its training."""
        state = self.run_of(name) / "state.json"
        return state.exists() and self.place(Weights(name)).exists() and json.loads(state.read_text()).get("trained")

    def place(self, value: object) -> Any:
        """The value of an option as programs take it."""
        match value:
            case Built(name):
                return self.set_of(name)
            case Weights(name):
                return self.run_of(name) / "last.pt"
        return value


def work_off(work: Work, pieces: Iterable[Piece], jobs: int = 1) -> None:
    """Work off the open ones of `pieces`, and those whose weights they need, `jobs` at a time."""
    waves = [*in_waves(work, pieces)]
    make_sets(work, [piece for wave in waves for piece in wave])
    failed: list[BaseException] = []
    for wave in waves:
        ready = [piece for piece in wave if all(map(work.trained, piece.needs))]
        for piece in wave:
            if piece not in ready:
                print(f"{piece.name}: waits for the training of {', '.join(piece.needs)}")
        with ThreadPoolExecutor(jobs) as pool:  # a piece that fails stops none of the others
            ended = _shown(pool.submit(_finished, work, piece) for piece in ready)
            failed += [error for future in ended if (error := future.exception())]
    for piece in work.experiment.pieces:
        users = [other for other in work.experiment.pieces if piece.name in other.needs]
        if all(map(work.done, (piece, *users))):
            shutil.rmtree(work.run_of(piece.name), ignore_errors=True)
    if failed:
        others = [error for error in failed if not isinstance(error, UserError)]
        raise (
            others[0]
            if others
            else UserError(
                f"{len(failed)} piece{'s' * (len(failed) > 1)} failed, as named above: mend that, then go on"
            )
        )


def _shown(pieces: Iterable[Future[str]]) -> Iterator[Future[str]]:
    """The pieces as they end, and a line about each."""
    for ended in as_completed([*pieces]):
        print(ended.exception() or ended.result(), flush=True)
        yield ended


def in_waves(work: Work, pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """The open pieces in groups, each of which needs weights of earlier groups alone."""
    todo = {piece.name: piece for piece in pieces if not work.done(piece)}
    absent = [name for piece in todo.values() for name in piece.needs]
    while absent:
        name = absent.pop()
        if name not in todo and not work.trained(name):
            todo[name] = work.experiment.piece(name)
            absent += todo[name].needs
    while todo:
        wave = [piece for piece in todo.values() if not any(name in todo for name in piece.needs)]
        yield wave
        todo = {name: piece for name, piece in todo.items() if piece not in wave}


def make_sets(work: Work, pieces: list[Piece]) -> None:
    """Make the sets that pieces name, unless they are there."""
    for name in dict.fromkeys(name for piece in pieces for used in piece.sets for name in before(used)):
        if (work.set_of(name) / "dataset.json").exists():
            continue
        program, options = building(name, work.sources, work.folder / "sets")
        if subprocess.run([*started(program), *words(options)], check=False).returncode:
            raise UserError(f"the set {name} was not made: {program} names the reason above")


def _finished(work: Work, piece: Piece) -> str:
    """Work off a piece; the line about it."""
    job = Job(piece, work.run_of(piece.name), work.always, work.place, work.minutes)
    page = job.work()
    if page is None:
        return f"{piece.name}: stopped after {work.minutes:g} min, --resume goes on"
    make_folder(work.page_of(piece).parent)
    for name, file in job.pictures().items():
        with atomic(work.page_of(piece).with_name(name)) as picture:
            picture.write(file.read_bytes())
    write_json(work.page_of(piece), page)
    return f"{piece.name}: {sum(page['minutes'].values()):.1f} min, {work.page_of(piece)}"
