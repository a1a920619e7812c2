"""An augmentation op of your own: hide a random square (arXiv:1708.04552).

  python examples/cutout.py data/shards/imagenet-lt6-train runs/cutout

Checks the op and trains MoCo for one epoch on views that end with it.
"""

import sys
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from viewstream.augment import KeyedGenerator, moco_v2
from viewstream.testing import check_op
from viewstream.trainers import Run, pretrain, recipe_named

SMALL = {"arch": "test_resnet", "size": 32, "epochs": 1, "batch_size": 32, "queue": 64, "bn_groups": 2}
RECIPE = replace(recipe_named("moco_v2"), **SMALL)


@dataclass(frozen=True)
class Cutout:
    """A square of `side` px at a random place becomes the mean color, which is zero after Normalize."""

    side: int

    def __call__(self, x: Tensor, keyed: KeyedGenerator) -> Tensor:
        size = x.shape[-1]
        begin = (keyed.uniform(2, 1) * (size - self.side + 1)).long()  # [N, 2, 1] top and left
        pixel = torch.arange(size, device=x.device)
        inside = (pixel >= begin) & (pixel < begin + self.side)  # [N, 2, S]
        return x.masked_fill((inside[:, 0, :, None] & inside[:, 1, None, :])[:, None], 0.0)


def main(data: str, out: str) -> None:
    check_op(Cutout(12))
    views = tuple((*view, Cutout(12)) for view in moco_v2(32))
    pretrain(RECIPE, Run(data=data, loader="webdataset", out=out, device="cpu"), views=views)


if __name__ == "__main__":
    main(*sys.argv[1:])
