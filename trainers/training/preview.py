"""What a run would do, in the form that `--config` reads: `train.py --dry-run`."""

import dataclasses
from pathlib import Path

from ...augment.recipes import views_of
from ...shards.errors import plural
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
    classes, epochs = plural(len(data.info.classes), "class"), plural(recipe.epochs, "epoch")
    lines = [
        f"# {data.root}: {plural(len(data), 'image')}, {classes}, {plural(len(views), 'view')} of each",
        f"# {plural(steps, 'step')} in an epoch, {steps * recipe.epochs:,} in {epochs}; written to {folder}",
    ]
    return "\n".join([*lines, as_yaml(recipe=dataclasses.asdict(recipe), run=dataclasses.asdict(run))]).rstrip()
