"""What the folder of a run says about it: configuration, log and results. Needs no torch."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from viewstream.shards.errors import UserError
from viewstream.shards.names import open_file
from viewstream.shards.unpack import parsed_json

CONFIG, LOG, RESULTS = "config.json", "log.jsonl", "results.json"
ABOUT = ("checkpoint_step", "test_images", "test_images_in_bank")  # numbers of a result that measure nothing


@dataclass(frozen=True)
class RunFiles:
    """The files of a run, read."""

    folder: Path
    config: dict[str, Any]
    rows: list[dict[str, Any]]  # of the log
    results: dict[str, dict[str, Any]]

    @property
    def recipe(self) -> dict[str, Any]:
        return self.config.get("recipe", {})

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def steps(self) -> list[dict[str, Any]]:
        """The rows with a loss."""
        return [row for row in self.rows if "loss" in row]

    @cached_property
    def notes(self) -> list[dict[str, Any]]:
        """The rows of what was measured between epochs."""
        return [row for row in self.rows if "step" in row and "loss" not in row]

    def last(self, name: str) -> float | None:
        """The last value of a column of the log; None if it has none."""
        return next((row[name] for row in reversed(self.rows) if name in row), None)

    def column(self, name: str) -> tuple[list[int], list[float]]:
        """Steps, and the values of a column of the log there."""
        rows = [row for row in self.rows if name in row and "step" in row]
        return [row["step"] for row in rows], [row[name] for row in rows]

    def speed(self) -> float:
        """Median images/s of the lines after the first, which holds the start."""
        return median([row["img_s"] for row in self.steps[1:] or self.steps if "img_s" in row] or [0.0])

    def measured(self) -> list[str]:
        """The names of what was measured between epochs."""
        return [*dict.fromkeys(name for row in self.notes for name in row if name not in ("step", "epoch", "time"))]

    def numbers(self) -> dict[str, float]:
        """Every number of results.json as `entry: name`."""
        return {
            f"{entry}: {name}": value
            for entry, values in self.results.items()
            for name, value in values.items()
            if name not in ABOUT and type(value) in (int, float)
        }


def read_run(folder: Path) -> RunFiles:
    """The run in `folder`. UserError if it is none, or one of its files is damaged."""
    if not (folder / CONFIG).is_file():
        reason = "does not exist" if not folder.exists() else f"holds no {CONFIG}"
        raise UserError(f"{folder} {reason}, so it is no run: name the folder that training wrote (--out)")
    config, results = read_page(folder / CONFIG), read_page(folder / RESULTS) if (folder / RESULTS).exists() else {}
    return RunFiles(folder, config, _lines(folder / LOG), results)


def read_alike(folders: Sequence[Path]) -> list[RunFiles]:
    """Runs that can be shown side by side. UserError as of `read_run`, and for runs of different kinds: the loss and
    accuracy of a classifier on a fixed network say nothing about those of a run that trains one."""
    found = [read_run(folder) for folder in folders]
    probes = [one for one in found if one.recipe.get("trained") == "classifier"]
    if others := [one for one in found if one not in probes] if probes else []:
        raise UserError(
            f"{probes[0].folder} trains a classifier on a fixed network, {others[0].folder} a network: name runs of "
            "one kind"
        )
    return found


def runs_below(folder: Path) -> list[Path]:
    """The folders of runs in `folder` and below, the newest first."""
    found = [path.parent for path in folder.rglob(CONFIG) if path.is_file()]
    return sorted(found, key=lambda path: (path / CONFIG).stat().st_mtime, reverse=True)


def read_page(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a run. UserError if it is damaged."""
    try:
        with open_file(path) as file:
            page = parsed_json(file.read())
        if not isinstance(page, dict):
            raise ValueError("it is no object")
        return page
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): remove it, then train or evaluate again") from error


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; half a line, which a run that is writing now leaves at its end, is left out."""
    try:
        with open_file(path) as file:
            *whole, _ = file.read().split(b"\n")
        return [json.loads(line) for line in whole]
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: the run has not begun, or was copied without its log") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): `--resume auto` of the run writes it from there") from error
