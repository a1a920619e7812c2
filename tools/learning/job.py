"""One piece: its run is trained and measured by the programs, and what is kept of it."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from viewstream.shards.environment import commit, environment
from viewstream.shards.errors import UserError
from viewstream.shards.files import make_folder
from viewstream.shards.programs import command, started
from viewstream.shards.unpack import parsed_json
from viewstream.tools.learning.calls import ended, none, words
from viewstream.tools.learning.kept import of_run, saved, write_json
from viewstream.tools.learning.plan import Measure, Options, Piece, Weights
from viewstream.tools.learning.rates import searched
from viewstream.tools.run_files import read_run

TRAIN, EVALUATE = "trainers/train.py", "trainers/evaluate.py"
Place = Callable[[object], object]  # from the value of an option to what a program takes for it


class Job:
    """A piece in work. What is done is written down in its folder, so a piece that was cut off goes on."""

    def __init__(self, piece: Piece, folder: Path, always: Options, place: Place, minutes: float = 0):
        self.piece, self.folder, self.always, self.place, self.minutes = piece, folder, always, place, minutes
        make_folder(folder)
        file = folder / "state.json"
        empty = {"minutes": {}, "processor_minutes": {}, "commands": {}, "measures": {}}
        self.state: dict[str, Any] = parsed_json(file.read_bytes()) if file.exists() else empty  # pyright: ignore

    def work(self) -> dict[str, Any] | None:
        """Train, if the piece trains, and measure its network; returns what is kept, None if time is over."""
        if self.piece.training and not self.trained():
            return None
        for measure in self.piece.measures:
            if measure.name not in self.state["measures"]:
                self.state["measures"][measure.name] = self.measured(measure)
                self.keep()
        return self.page()

    def trained(self) -> bool:
        """Train to the end, and whether that was reached; a piece that has to be killed is, once."""
        options = {**self.piece.training, "resume": "auto"}
        if self.piece.killed_at and not self.state.get("killed"):
            reached = lambda: signal.SIGKILL * (self.step() >= self.piece.killed_at)  # noqa: E731
            if not self.run("training", TRAIN, options, {"out": self.folder}, reached):
                raise UserError(f"{self.piece.name} ended before it was killed at step {self.piece.killed_at}")
            self.state["killed"] = self.step()
        ends, sent = time.monotonic() + 60 * self.minutes, []

        def over() -> int:
            late = bool(self.minutes) and time.monotonic() > ends and not sent
            sent.extend([True] * late)
            return signal.SIGTERM * late  # once: training saves at its next line

        self.run("training", TRAIN, options, {"out": self.folder}, over)
        self.state["trained"] = not sent
        self.keep()
        return not sent

    def step(self) -> int:
        """The step of the last line in the log of the run."""
        log = self.folder / "log.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        return int(json.loads(lines[-1]).get("step", 0)) if lines else 0

    def keep(self) -> None:
        write_json(self.folder / "state.json", self.state)

    def run(
        self, name: str, program: str, options: Options, places: Mapping[str, Path], watch: Callable[[], int] = none
    ) -> bool:
        """Run a program to its end, or until `watch` gives a signal to end it with, and add its time; whether that
        signal ended it. `places` are options that are not kept. UserError with its last line if it fails."""
        log, begin = self.folder / "output.log", time.monotonic()
        given = {key: self.place(value) for key, value in {**self.always, **options, **places}.items()}
        with log.open("ab") as file:
            call = [*started(program), *words(given)]
            running = subprocess.Popen(call, stdout=file, stderr=file, env={**os.environ, "TQDM_DISABLE": "1"})
            code, used, ours = ended(running, watch)
        if code and not ours:
            last = log.read_text().strip().rpartition("\n")[2]
            raise UserError(f"{self.piece.name}: {name} ended with code {code} ({last}): {log} has it all")
        spent = {"minutes": time.monotonic() - begin, "processor_minutes": used}
        for unit, seconds in spent.items():
            self.state[unit][name] = round(self.state[unit].get(name, 0) + seconds / 60, 2)
        self.state["commands"][name] = command(f"python {program}", *words(options))
        self.state["commits"] = sorted({*self.state.get("commits", ()), commit()})
        self.keep()
        return ours

    def measured(self, measure: Measure) -> dict[str, Any]:
        """The numbers of a measure, and the rates that were searched for it."""
        if not measure.rates:
            return self.numbers(measure, measure.name, {})
        best, found = searched(measure.rates, lambda rate: self.held_out(measure, rate))
        about = {"rate": best, "held out": {f"{rate:g}": found[rate] for rate in sorted(found)}}
        return self.numbers(measure, measure.name, {"lr": best}) | about

    def held_out(self, measure: Measure, rate: float) -> float:
        """What a rate reaches on held-out images; 0 if its loss is not finite."""
        name = f"{measure.name}-{rate:g}"
        failure = self.folder / name / "failure.json"
        failure.unlink(missing_ok=True)  # of an earlier call
        try:
            return self.numbers(measure, name, {**(measure.held_out or {}), "lr": rate})[measure.by]
        except UserError:
            if failure.exists():
                return 0.0
            raise

    def numbers(self, measure: Measure, name: str, more: Options) -> dict[str, Any]:
        """What evaluate.py adds to the results of a checkpoint, or the best accuracy of a run."""
        options = {**measure.options, **more}
        if options.get("task") == "pixels":  # no network
            from viewstream.tools.learning.pixels import pixel_numbers

            whole = f"{self.folder.parent.name}/{self.piece.name}"
            self.state["commands"][name] = command("python tools/experiments.py", "--run", whole)
            places = {key: value for key, value in options.items() if key != "task"}
            return pixel_numbers(**{key: self.place(value) for key, value in places.items()})  # pyright: ignore
        if "task" not in options:  # a run of its own
            self.run(name, TRAIN, options, {"out": self.folder / name})
            return {"best top1": max(row["top1"] for row in read_run(self.folder / name).notes if "top1" in row)}
        probe = {"out": self.folder / name} if options["task"] in ("linear", "transfer", "tsne") else {}
        options["checkpoint"] = Weights(self.piece.of or self.piece.name)
        file = Path(str(self.place(options["checkpoint"]))).with_name("results.json")
        earlier = saved(file)
        self.run(name, EVALUATE, options, probe)
        entry = next(values for key, values in saved(file).items() if values != earlier.get(key))
        found: dict[str, Any] = {key: value for key, value in entry.items() if type(value) is float}
        if measure.classes:
            table = probe.get("out", file.parent) / "per_class.parquet"
            found["classes"] = pq.read_table(table).to_pydict()
        return found

    def pictures(self) -> dict[str, Path]:
        """The figures of the measures, by the names that they are kept under."""
        made = {measure.name: measure.picture for measure in self.piece.measures if measure.picture}
        return {f"{self.piece.name}-{name}.png": self.folder / name / file for name, file in made.items()}

    def page(self) -> dict[str, Any]:
        """What is kept: numbers, commands, minutes, and of a run its recipe and some lines of its log."""
        here = environment()
        about = {name: here[name] for name in ("processor", "cores", "python", "commit", "versions")}
        page: dict[str, Any] = {"piece": self.piece.name, **self.state, "environment": about}
        if self.piece.training:
            page |= of_run(read_run(self.folder))
        return page
