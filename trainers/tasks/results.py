"""Output of an evaluation: a table of messages, results.json and the run's log."""

import dataclasses
import json
import logging
import math
from pathlib import Path
from typing import Any

from ...shards.environment import environment
from ...shards.errors import UserError
from ...shards.files import SPACE, append, atomic, writing
from ...shards.redaction import redacted
from ...shards.unpack import parsed_json
from .options import Evaluation

LOG = logging.getLogger(__name__)

# Options that distinguish results of the same task and checkpoint.
DISTINCT = (
    *("protocol", "dataset", "finetune", "class_subset", "other_classes", "ema", "mode", "dataset_mode", "untrained"),
    *("size", "views", "test_views", "precision", "epochs", "lr", "bias", "frozen_bn", "bn_groups", "rule", "images"),
    *("c", "per_class", "fraction", "draws", "counts", "lidar", "blocks"),
)

# Options that distinguish results only from others of the same name: an entry keeps its name when these change.
MORE = (
    *("k", "temperature", "max_k", "rep_space", "gpus", "part_batch", "tau", "topk", "samples_per_chunk"),
    *("skip_odd_chunks", "gallery", "stats_seed", "perplexity"),
)
UNIT = "fractions from 0 to 1, as top-1 accuracy; instdisc in percent; ranks, counts and distances as they are"

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


def entry_of(
    name: str, checkpoint: Path, facts: dict[str, Any], saved: dict[str, Any], options: dict[str, Any] | None = None
) -> str:
    """The key of an evaluation in results.json: its title, network, sets, and checkpoint unless that is last.pt.

    `saved`: the entries so far. Sets that share their names with those of another entry add their identity, and options
    of MORE that differ from those of another entry their values."""
    sets = [facts[half] for half in ("data", "val") if half in facts]
    key = " ".join([name, facts["network"], *(half["name"] for half in sets)])
    key += f" {checkpoint.stem}" * (checkpoint.name != "last.pt")
    other = key in saved and any(saved[key].get(half) != facts.get(half) for half in ("data", "val"))
    if other:
        key = " ".join([key, *(half["identity"][:8] for half in sets if "identity" in half)])
    before = saved.get(key, {}).get("options", {})
    own = {n: list(v) if isinstance(v, tuple) else v for n, v in (options or {}).items() if n in MORE and n in before}
    return " ".join([key, *(_word(n, value) for n, value in own.items() if value != before[n])])


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
    """Log the results as a table."""
    width = max(map(len, results), default=0)
    for key, value in results.items():
        shown = f"{value:.4f}" if isinstance(value, float) else value
        LOG.info(f"{name:>14}  {key:<{width}}  {shown}")


def report(name: str, results: dict[str, float], options: Evaluation, facts: dict[str, Any]) -> dict[str, Any]:
    """Add the results to results.json beside the checkpoint and to the log of its run, with the `facts` that they
    depend on. Returns the file, the name of the entry and its content."""
    path = Path(options.checkpoint)
    file = path.with_name("results.json")
    numbers = {key: None if math.isnan(value) else value for key, value in results.items()}  # JSON has no nan
    log, here = path.with_name("log.jsonl"), environment()
    about = {"unit": UNIT, **{name: here[name] for name in ("time", "host", "commit")}}
    about |= {"version": here["versions"].get("viewstream", ""), "torch": here["versions"].get("torch", "")}
    with writing(file, AGAIN):
        with atomic(file, "w") as page:
            saved = entries(file)
            given = dataclasses.asdict(options)
            entry = entry_of(name, path, facts, saved, given)
            saved[entry] = {"evaluation": name, **numbers, **facts, **about, "options": given}
            page.write(redacted(json.dumps(saved, indent=1, default=str)))
        if log.exists():
            append(log, json.dumps({"evaluation": name, "checkpoint": path.name, **numbers, **facts, **about}) + "\n")
    LOG.info(f"written to {file} as {entry!r}")
    return {"file": str(file), "entry": entry, **saved[entry]}
