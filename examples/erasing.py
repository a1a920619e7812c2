"""Modules of kornia after our ops: erase a random box and add noise, with numbers keyed per image.

  python examples/erasing.py data/shards/imagenet-lt6-train runs/erasing

Checks the op and trains MoCo for one epoch on views that end with it.
"""

import sys
from dataclasses import replace

from kornia import augmentation as K

from viewstream.augment import Kornia, moco_v2
from viewstream.testing import check_op
from viewstream.trainers import Run, pretrain, recipe_named

SMALL = {"arch": "test_resnet", "size": 32, "epochs": 1, "batch_size": 32, "queue": 64, "bn_groups": 2}
RECIPE = replace(recipe_named("moco_v2"), **SMALL)
ERASING = Kornia(K.ImageSequential(K.RandomErasing(p=0.5), K.RandomGaussianNoise(std=0.1, p=0.5)))


def main(data: str, out: str) -> None:
    check_op(ERASING)
    views = tuple((*view, ERASING) for view in moco_v2(32))
    pretrain(RECIPE, Run(data=data, loader="webdataset", out=out, device="cpu"), views=views)


if __name__ == "__main__":
    main(*sys.argv[1:])
