"""A program for a test: trains a classifier on two ranks, of which the second has no memory left in the third step."""

import sys
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from viewstream.shards.cli import run
from viewstream.trainers.launch import launch
from viewstream.trainers.methods.supervised import Supervised as Classifier
from viewstream.trainers.ranks import rank
from viewstream.trainers.recipes.options import Supervised
from viewstream.trainers.training.run import Run, pretrain


class Full(Classifier):
    def forward(self, batch, now):
        if now.step == 2 and rank() == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return super().forward(batch, now)


@dataclass(frozen=True, kw_only=True)
class FullRecipe(Supervised):
    """A classifier whose second rank fails"""

    method_class: ClassVar = Full
    method: str = field(init=False, default="supervised")


def main():
    recipe = FullRecipe(arch="test_resnet", size=32, epochs=1, batch_size=16, views="supervised", bn_groups=2)
    data, out = sys.argv[1:]
    launch(pretrain, recipe, Run(data=data, loader="folder", device="cpu", out=out, save_every=1), ranks=2)


if __name__ == "__main__":
    run(main)
