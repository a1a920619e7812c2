"""Output of an evaluation: a printed table, results.json and the run's log."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from ...shards.files import atomic
from .evaluation import Evaluation

# Options that distinguish results of the same task and checkpoint.
DISTINCT = (
    "protocol",
    "dataset",
    "finetune",
    "class_subset",
    "network",
    "mode",
    "dataset_mode",
    "untrained",
    "precision",
)


def title(task: str, options: Evaluation) -> str:
    """Name of an evaluation among the results of a checkpoint: the task, and each DISTINCT option that was changed."""
    default = type(options)()
    changed = {
        name: getattr(options, name)
        for name in DISTINCT
        if getattr(options, name, None) != getattr(default, name, None)
    }
    return " ".join([task, *(name if value is True else Path(str(value)).stem for name, value in changed.items())])


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
    saved: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    saved[name] = {**numbers, **facts, "options": dataclasses.asdict(options)}
    with atomic(file, "w") as page:
        json.dump(saved, page, indent=1, default=str)
    log = path.with_name("log.jsonl")
    if log.exists():
        with log.open("a") as lines:
            lines.write(json.dumps({"evaluation": name, "checkpoint": path.name, **numbers, **facts}) + "\n")
    print(f"written to {file}")
