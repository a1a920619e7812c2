"""What follows from the configuration of a run: its options, its set, the images of a step and their views."""

from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from viewstream.shards.errors import UserError
from viewstream.shards.files import atomic, writing
from viewstream.shards.manifest import Manifest
from viewstream.tools.run_files import CONFIG, RunFiles
from viewstream.trainers.recipes import METHODS
from viewstream.trainers.recipes.options import Recipe
from viewstream.trainers.training.options import Run


class Taken(NamedTuple):
    """The images of a step, on all ranks, in the order of its global batch."""

    epoch: int
    rows: np.ndarray  # [B] manifest rows
    occurrence: np.ndarray  # [B]: which showing of the epoch


def recipe_of(found: RunFiles) -> Recipe:
    """The recipe in the configuration of a run. UserError for one of another version."""
    kind = METHODS.get(found.recipe.get("method", ""))
    if kind is None:
        raise UserError(f"{found.folder / CONFIG} names no method of this version: replay it with the version that ran")
    saved = {name: value for name, value in found.recipe.items() if name != "method"}
    return kind(**_values(found, saved, kind, kind.method))


def run_of(found: RunFiles) -> Run:
    """The options of a run in its configuration. UserError for those of another version."""
    saved = found.config.get("run", {})
    paths: dict[str, Any] = {"cache": Path(saved["cache"])} if "cache" in saved else {}
    return Run(**_values(found, saved, Run, "training") | paths)


def _values(found: RunFiles, saved: dict[str, Any], kind: type, name: str) -> dict[str, Any]:
    """Saved options of `kind`, which JSON has as lists where they are tuples."""
    known = {field.name for field in fields(kind) if field.init}
    if unknown := saved.keys() - known:
        raise UserError(
            f"{found.folder / CONFIG} has options that {name} has not here ({', '.join(sorted(unknown))}): replay it "
            "with the version that ran"
        )
    return {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}


def data_of(found: RunFiles, where: str) -> Manifest:
    """The training set of a run, or the one at `where`. UserError if it does not exist."""
    from viewstream.trainers.data import Sets

    saved = found.config.get("run", {})
    options = Sets(data=where or str(found.config.get("data", "")), class_subset=saved.get("class_subset", ""))
    return options.training()


def steps_per_epoch(recipe: Recipe, data: Manifest) -> int:
    """Optimizer steps in an epoch of a run."""
    from viewstream.trainers.training.setup import training_plan

    return len(training_plan(recipe, data)) // recipe.accumulate


def taken(found: RunFiles, recipe: Recipe, data: Manifest, step: int) -> Taken:
    """The images of optimizer step `step`. UserError for a step that the run does not have."""
    from viewstream.trainers.checkpoints.rules import followed
    from viewstream.trainers.training.setup import training_plan

    last = found.folder / "last.pt"
    plan = training_plan(recipe, data, followed(last if last.exists() else None)["order"])
    per_epoch = len(plan) // recipe.accumulate
    if step > per_epoch * recipe.epochs:
        raise UserError(f"{found.folder} has {per_epoch * recipe.epochs:,} steps: --step {step:,} is none of them")
    epoch, number = divmod(step - 1, per_epoch)
    parts = plan.steps(epoch, number * recipe.accumulate)
    several = [next(parts) for _ in range(recipe.accumulate)]
    return Taken(epoch, *(np.concatenate(column) for column in zip(*several, strict=True)))


def listed(data: Manifest, found: Taken) -> list[dict[str, Any]]:
    """Row, key and class of each image."""
    keys = data.strings("key", found.rows)
    names = [data.info.classes[c] if c >= 0 else None for c in data.label[found.rows].tolist()]
    both = zip(found.rows.tolist(), keys, names, strict=True)
    return [{"row": row, "key": key, "class": name} for row, key, name in both]


def draw(found: Taken, recipe: Recipe, data: Manifest, number: int, out: Path) -> None:
    """Write a sheet of the views of the first `number` images."""
    from viewstream.tools.pages.views import views_sheet

    part = slice(number)
    sheet = views_sheet(
        data,
        recipe.views,
        recipe.size,
        seed=recipe.seed,
        epoch=found.epoch,
        rows=found.rows[part],
        occurrence=found.occurrence[part],
    )
    with writing(out), atomic(out) as file:
        file.write(sheet)
