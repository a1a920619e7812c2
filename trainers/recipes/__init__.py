"""One function per training command that the source releases publish."""

from collections.abc import Callable
from dataclasses import replace
from math import isclose
from typing import Any

from ...shards.errors import UserError, choose
from . import balfeat, dino, ensemble, m2t, moco, seed, simclr, small, swav
from .options import BYOL, DINO, KCL, M2T, SEED, STS, MoCo, Recipe, SimCLR, Supervised, SwAV

METHODS: dict[str, type[Recipe]] = {
    kind.method: kind for kind in (MoCo, KCL, BYOL, STS, M2T, SimCLR, SwAV, DINO, SEED, Supervised)
}
DEFAULTS = {
    "moco": "moco_v2",
    "kcl": "kcl_lt",
    "byol": "byol",
    "sts": "sts_200",
    "m2t": "m2t_200",
    "simclr": "simclr",
    "swav": "swav_200_256",
    "dino": "dino_vit_small",
    "seed": "seed_resnet18",
    "supervised": "sl_clsset1",
}
SCALED = {module.__name__ for module in (seed, ensemble, m2t, dino)}  # their programs scale the rate with the batch
RECIPES: dict[str, Callable[[], Any]] = {
    name: function
    for module in (moco, balfeat, small, seed, ensemble, m2t, simclr, swav, dino)
    for name, function in vars(module).items()
    if callable(function) and getattr(function, "__module__", "") == module.__name__ and not name.startswith("_")
}
"""The published settings by their names; each returns a Recipe."""


def recipe_named(name: str, method: str = "") -> Recipe:
    """The recipe called `name`, or the default of `method` (moco without either); UserError if the two do not fit.

    A named recipe has the precision of its program. Without a name it is `auto`, the fast choice.
    """
    if method:
        choose("method", method, METHODS)
    recipe = RECIPES[choose("recipe", name or DEFAULTS[method or "moco"], RECIPES)]()
    if method and recipe.method != method:
        raise UserError(f"recipe {name} trains {recipe.method}, not {method}: leave out --method, or choose another")
    return recipe if name else replace(recipe, precision="auto")


def rate_note(recipe: Recipe, name: str = "") -> str:
    """A line on the rate that the program takes for another batch size than that of the recipe called `name`, which the
    options have made into `recipe`; empty where the program does not scale it or `recipe` has just that rate."""
    source = RECIPES[name or DEFAULTS[recipe.method]]
    published = source()
    base = published.lr * 256 / published.batch_size
    scaled = base * recipe.batch_size / 256
    if source.__module__ not in SCALED or recipe.batch_size == published.batch_size or isclose(recipe.lr, scaled):
        return ""
    return (
        f"note: --lr {recipe.lr:g} is taken as it is; the program takes {base:g} x batch / 256, which is {scaled:g} "
        f"for batches of {recipe.batch_size}"
    )


def table() -> str:
    """A Markdown table of every recipe: the command that it repeats, its data and the published number."""
    rows = [("recipe", "method", "source command", "data", "published")]
    for name, function in RECIPES.items():
        fields = {}
        for line in (function.__doc__ or "").splitlines():
            key, colon, text = line.strip().partition(": ")
            if colon and key in ("Command", "Data", "Published"):
                fields[key] = text
            elif fields and line.strip():
                fields[list(fields)[-1]] += f" {line.strip()}"
        rows.append((name, function().method, f"`{fields['Command']}`", fields["Data"], fields["Published"]))
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])
