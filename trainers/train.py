"""Train on a built data set: `python trainers/train.py --method moco --loader ffcv`, with --ranks N on several GPUs."""

import os
from dataclasses import dataclass
from typing import Annotated

from viewstream.shards.cli import parse, peek, run
from viewstream.shards.errors import UserError
from viewstream.trainers.launch import launch
from viewstream.trainers.recipes import rate_note, recipe_named, table
from viewstream.trainers.recipes.options import Recipe
from viewstream.trainers.training.options import Run

ABOUT = """Train on a data set that tools/build_shards.py has built. The options depend on the method.

  python trainers/train.py --method moco --loader ffcv
  python trainers/train.py --list-recipes
  python trainers/train.py --method moco --dry-run > run.yaml, then --config run.yaml with other options after it
  python trainers/train.py --ranks 8 --recipe kcl_lt --data data/shards/imagenet-lt-train --resume auto
  torchrun --nproc-per-node 8 trainers/train.py ..., which can start several machines too"""


@dataclass(frozen=True)
class TrainTarget:
    """What to train"""

    method: Annotated[
        str,
        "moco, kcl, byol, sts, m2t, simclr, swav, dino, seed or supervised (moco); --help shows the method's options",
    ] = ""
    recipe: Annotated[str, "named recipe, changed by the other options (the default of the method)"] = ""
    ranks: Annotated[int, "processes on this machine, one per GPU (1 also under torchrun)", 1] = 1
    dry_run: Annotated[bool, "print all options and the length of the run, as a file for --config; train nothing"] = (
        False
    )
    list_recipes: Annotated[bool, "print the recipes: their source commands, data and published numbers"] = False


def train(recipe: Recipe, options: Run) -> None:
    """What each rank does. Torch is imported here: the options and the process that starts the ranks need none."""
    if options.profile:
        from viewstream.trainers.training.headspace import profile

        profile(recipe, options)
        return
    from viewstream.trainers.training.run import pretrain

    pretrain(recipe, options)


def main() -> None:
    target = peek(TrainTarget())
    if target.list_recipes:
        print(table())
        return
    preset = recipe_named(target.recipe, target.method)
    target, recipe, options = parse(target, preset, Run(), description=ABOUT, of=f"of --method {preset.method}")
    note = rate_note(recipe, target.recipe)
    if note and os.environ.get("RANK", "0") == "0":
        print(note, flush=True)
    if options.trace and not options.profile:
        raise UserError("--trace writes steps of --profile, which is not given: add --profile 20, or leave it out")
    if target.dry_run:
        from viewstream.trainers.training.preview import preview

        print(preview(recipe, options))
        return
    launch(train, recipe, options, ranks=target.ranks)


if __name__ == "__main__":
    run(main)
