"""What a run would do, in the form that `--config` reads: `train.py --dry-run`."""

import dataclasses
from pathlib import Path

from ...augment.recipes import views_of
from ...shards.settings import as_yaml
from ..methods.build import check
from ..recipes.options import Recipe
from .options import Run
from .setup import training_plan


def preview(recipe: Recipe, run: Run) -> str:
    """All options of a run as YAML, after lines of comment on its data and length. UserError for data that is absent,
    or options that do not fit it; nothing is written."""
    data, views = run.training(), views_of(recipe.views, recipe.size)
    plan = training_plan(recipe, data)
    check(recipe, views, data)
    steps = len(plan) // recipe.accumulate
    folder = Path(run.out or f"runs/{recipe.method}-{data.info.name}")
    lines = [
        f"# {data.root}: {len(data):,} images, {len(data.info.classes):,} classes, {len(views)} views of each",
        f"# {steps:,} steps in an epoch, {steps * recipe.epochs:,} in {recipe.epochs} epochs; written to {folder}",
    ]
    return "\n".join([*lines, as_yaml(recipe=dataclasses.asdict(recipe), run=dataclasses.asdict(run))]).rstrip()
