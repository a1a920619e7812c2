"""Output of an evaluation: a printed table, results.json and the run's log."""

import dataclasses
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...shards.files import append, atomic
from ...shards.redaction import redacted
from .options import Evaluation

# Options that distinguish results of the same task and checkpoint.
DISTINCT = (
    *("protocol", "dataset", "finetune", "class_subset", "other_classes", "ema", "mode", "dataset_mode", "untrained"),
    *("size", "views", "test_views", "precision", "epochs", "lr", "bias", "frozen_bn", "bn_groups", "rule", "images"),
    *("c", "per_class", "fraction", "draws", "counts"),
)


def title(task: str, options: Evaluation) -> str:
    """Name of an evaluation: the task, and each DISTINCT option that was changed."""
    default = type(options)()
    changed = {
        name: getattr(options, name)
        for name in DISTINCT
        if getattr(options, name, None) != getattr(default, name, None)
    }
    return " ".join([task, *(_word(name, value) for name, value in changed.items())])


def _word(name: str, value: Any) -> str:
    if isinstance(value, str):
        return Path(value).stem
    return name if value is True else f"{name}={value}"


def entry_of(name: str, checkpoint: Path, facts: dict[str, Any], saved: dict[str, Any]) -> str:
    """The key of an evaluation in results.json: its title, network, sets, and checkpoint unless that is last.pt.

    `saved`: the entries so far. Sets that share their names with those of another entry add their identity."""
    sets = [facts[half] for half in ("data", "val") if half in facts]
    key = " ".join([name, facts["network"], *(half["name"] for half in sets)])
    key += f" {checkpoint.stem}" * (checkpoint.name != "last.pt")
    other = key in saved and any(saved[key].get(half) != facts.get(half) for half in ("data", "val"))
    return " ".join([key, *(half["identity"][:8] for half in sets if "identity" in half)]) if other else key


@contextmanager
def kept(file: Path) -> Iterator[None]:
    """Within the block, a disk that refuses is a warning: the numbers are printed, and took long to compute."""
    try:
        yield
    except OSError as error:
        print(f"warning: {file} cannot be written ({error.strerror or error}), so it lacks them", file=sys.stderr)


def report(name: str, results: dict[str, float], options: Evaluation, facts: dict[str, Any]) -> None:
    """Print the results as a table, add them to results.json beside the checkpoint and to the log of its run, with the
    `facts` that they depend on."""
    width = max(map(len, results))
    for key, value in results.items():
        shown = f"{value:.4f}" if isinstance(value, float) else value
        print(f"{name:>14}  {key:<{width}}  {shown}")
    path = Path(options.checkpoint)
    file = path.with_name("results.json")
    numbers = {key: None if math.isnan(value) else value for key, value in results.items()}  # JSON has no nan
    log = path.with_name("log.jsonl")
    with kept(file):
        with atomic(file, "w") as page:
            saved: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
            entry = entry_of(name, path, facts, saved)
            saved[entry] = {"evaluation": name, **numbers, **facts, "options": dataclasses.asdict(options)}
            page.write(redacted(json.dumps(saved, indent=1, default=str)))
        print(f"written to {file} as {entry!r}")
        if log.exists():
            append(log, json.dumps({"evaluation": name, "checkpoint": path.name, **numbers, **facts}) + "\n")
