"""Train on a built data set: `python trainers/train.py --method moco --loader ffcv` (torchrun for several GPUs)."""

import os
from dataclasses import dataclass
from typing import Annotated

from viewstream.shards.cli import parse, peek, run

ABOUT = """Train on a data set that tools/build_shards.py has built. The options depend on the method.

  python trainers/train.py --method moco --loader ffcv
  python trainers/train.py --list-recipes
  torchrun --nproc-per-node 8 trainers/train.py --recipe kcl_lt --data data/shards/imagenet-lt-train --resume auto"""


@dataclass(frozen=True)
class TrainTarget:
    """What to train"""

    method: Annotated[
        str, "moco, kcl, byol, sts, m2t, seed or supervised (moco); --help shows the method's options"
    ] = ""
    recipe: Annotated[str, "named recipe, changed by the other options (the default of the method)"] = ""
    list_recipes: Annotated[bool, "print the recipes: their source commands, data and published numbers"] = False


def main() -> None:
    from viewstream.trainers.recipes import rate_note, recipe_named, table

    target = peek(TrainTarget())
    if target.list_recipes:
        print(table())
        return
    preset = recipe_named(target.recipe, target.method)

    from viewstream.trainers.training.run import Run, pretrain  # after --list-recipes, which needs no torch

    _, recipe, options = parse(target, preset, Run(), description=ABOUT)
    note = rate_note(recipe, target.recipe)
    if note and os.environ.get("RANK", "0") == "0":
        print(note)
    pretrain(recipe, options)


if __name__ == "__main__":
    run(main)
