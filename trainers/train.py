"""Pre-train on a built data set: `torchrun trainers/train.py --method moco --loader ffcv` (or plain `python`)."""

from viewstream.shards.cli import parse, run

ABOUT = """Pre-train on a data set that tools/build_shards.py has built.

  python trainers/train.py --method moco --loader ffcv
  torchrun --nproc-per-node 8 trainers/train.py --recipe moco_v2 --data data/shards/imagenet-lt6-train --resume auto"""


def main() -> None:
    from viewstream.shards.errors import choose
    from viewstream.trainers.recipes import RECIPES, Recipe
    from viewstream.trainers.run import Run, pretrain

    recipe, options = parse(Recipe(), Run(), about=ABOUT)
    name = options.recipe or f"{recipe.method}_v2"
    preset = RECIPES[choose("recipe", name, RECIPES)]()
    recipe, options = parse(preset, options, about=ABOUT)
    pretrain(recipe, options)


if __name__ == "__main__":
    run(main)
