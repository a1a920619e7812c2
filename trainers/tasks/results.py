"""Output of an evaluation: a printed table, results.json and the run's log."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from ...shards.errors import UserError
from ...shards.files import SPACE, append, atomic, writing
from ...shards.redaction import redacted
from ...shards.unpack import parsed_json
from .options import Evaluation

# Options that distinguish results of the same task and checkpoint.
DISTINCT = (
    *("protocol", "dataset", "finetune", "class_subset", "other_classes", "ema", "mode", "dataset_mode", "untrained"),
    *("size", "views", "test_views", "precision", "epochs", "lr", "bias", "frozen_bn", "bn_groups", "rule", "images"),
    *("c", "per_class", "fraction", "draws", "counts", "lidar", "blocks"),
)

AGAIN = f"{SPACE}, then the same command writes it; its numbers are above"


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


def entries(file: Path) -> dict[str, Any]:
    """The entries of a results.json, none if there is no file. UserError if it is damaged: asked before an evaluation,
    which may take long."""
    try:
        saved = parsed_json(file.read_bytes())
        if not isinstance(saved, dict) or not all(isinstance(entry, dict) for entry in saved.values()):
            raise ValueError("it holds no entries")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged or cannot be read ({error}): move it away, then evaluate again") from error
    return saved


def show(name: str, results: dict[str, float]) -> None:
    """Print the results as a table."""
    width = max(map(len, results), default=0)
    for key, value in results.items():
        shown = f"{value:.4f}" if isinstance(value, float) else value
        print(f"{name:>14}  {key:<{width}}  {shown}")


def report(name: str, results: dict[str, float], options: Evaluation, facts: dict[str, Any]) -> None:
    """Add the results to results.json beside the checkpoint and to the log of its run, with the `facts` that they
    depend on."""
    path = Path(options.checkpoint)
    file = path.with_name("results.json")
    numbers = {key: None if math.isnan(value) else value for key, value in results.items()}  # JSON has no nan
    log = path.with_name("log.jsonl")
    with writing(file, AGAIN):
        with atomic(file, "w") as page:
            saved = entries(file)
            entry = entry_of(name, path, facts, saved)
            saved[entry] = {"evaluation": name, **numbers, **facts, "options": dataclasses.asdict(options)}
            page.write(redacted(json.dumps(saved, indent=1, default=str)))
        print(f"written to {file} as {entry!r}")
        if log.exists():
            append(log, json.dumps({"evaluation": name, "checkpoint": path.name, **numbers, **facts}) + "\n")
