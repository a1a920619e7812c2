"""The images and views of one step of a run: both follow from its configuration.

python tools/replay.py runs/moco --step 1200
python tools/replay.py runs/moco --step 1200 --json
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from viewstream.shards.cli import Positional, parse, run

# isort: split
import numpy as np

from viewstream.shards.errors import UserError
from viewstream.shards.files import atomic, writing
from viewstream.shards.manifest import Manifest
from viewstream.tools.run_files import CONFIG, RunFiles, read_run
from viewstream.trainers.recipes import METHODS
from viewstream.trainers.recipes.options import Recipe

LISTED = 20  # images that are printed


@dataclass(frozen=True)
class Replay:
    """Which step"""

    folder: Annotated[Path, "folder of a run", Positional] = Path()
    step: Annotated[int, "optimizer step, from 1, as in log.jsonl", 1] = 1
    data: Annotated[str, "where the training set lies now (as in the configuration)"] = ""
    images: Annotated[int, "images whose views are drawn; 0: none", 0] = 8
    out: Annotated[Path | None, "PNG of the views (RUN/step-N.png)"] = None
    json: Annotated[bool, "print all images of the step as JSON, draw nothing"] = False


class Taken(NamedTuple):
    """The images of a step, on all ranks, in the order of its global batch."""

    epoch: int
    rows: np.ndarray  # [B] manifest rows
    occurrence: np.ndarray  # [B]: which showing of the epoch


def recipe_of(found: RunFiles) -> Recipe:
    """The recipe in the configuration of a run. UserError for one of another version."""
    saved = dict(found.recipe)
    kind = METHODS.get(saved.pop("method", ""))
    if kind is None:
        raise UserError(f"{found.folder / CONFIG} names no method of this version: replay it with the version that ran")
    names = {field.name for field in fields(kind) if field.init}
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}
    if unknown := values.keys() - names:
        raise UserError(
            f"{found.folder / CONFIG} has options that {kind.method} has not here ({', '.join(sorted(unknown))}): "
            "replay it with the version that ran"
        )
    return kind(**values)


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


def main() -> None:
    (options,) = parse(Replay(), description=__doc__ or "")
    found = read_run(options.folder)
    recipe, step = recipe_of(found), options.step
    data = _data_of(found, options.data)
    images = taken(found, recipe, data, step)
    rows = listed(data, images)
    if options.json:
        print(json.dumps({"step": step, "epoch": images.epoch, "images": rows}, indent=1))
        return
    print(f"step {step:,} of {options.folder}, epoch {images.epoch}: {len(rows):,} images of {data.root}")
    for row in rows[:LISTED]:
        print(f"{row['row']:>10}  {row['key']}")
    if len(rows) > LISTED:
        print(f"{'':>10}  and {len(rows) - LISTED:,} more: --json prints all")
    if options.images:
        out = options.out or options.folder / f"step-{step}.png"
        draw(images, recipe, data, options.images, out)
        print(f"views: {out}")


def _data_of(found: RunFiles, where: str) -> Manifest:
    """The training set of a run, or the one at `where`. UserError if it is another set."""
    from viewstream.trainers.data import Sets

    saved = found.config.get("run", {})
    options = Sets(data=where or str(found.config.get("data", "")), class_subset=saved.get("class_subset", ""))
    return options.training()


if __name__ == "__main__":
    run(main)
