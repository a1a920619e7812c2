"""A method of your own: tell by how many quarter turns an image was rotated (arXiv:1803.07728).

  python examples/rotation.py data/shards/imagenet-lt6-train runs/rotation

Checks the method and trains it for one epoch. Its checkpoint works with every evaluation.
"""

import sys
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from viewstream.pipeline import Batch
from viewstream.testing import check_method
from viewstream.trainers import Encoder, Method, Now, Recipe, Run, Stats, backbone, pretrain


class Rotation(Method):
    """Cross-entropy on the number of quarter turns, of all four rotations of each image."""

    def __init__(self, online: Encoder):
        super().__init__()
        self.online = online

    @classmethod
    def build(cls, recipe: "RotationRecipe", classes: int) -> "Rotation":
        body, width = backbone(recipe.arch, stem=recipe.stem)
        return cls(Encoder(body, nn.Linear(width, 4)))

    @property
    def backbone(self) -> nn.Module:
        return self.online.backbone

    def forward(self, batch: Batch, now: Now) -> tuple[Tensor, Stats]:
        (x,) = batch.views
        scores = self.online(torch.cat([x.rot90(turns, (2, 3)) for turns in range(4)])).float()  # [4 N, 4]
        target = torch.arange(4, device=x.device).repeat_interleave(len(x))
        return F.cross_entropy(scores, target), {"acc1": (scores.argmax(dim=1) == target).float().mean()}


@dataclass(frozen=True, kw_only=True)
class RotationRecipe(Recipe):
    """Options of rotation prediction"""

    method_class: ClassVar[type | None] = Rotation
    method: str = field(init=False, default="rotation")
    views: str = "supervised"


def main(data: str, out: str) -> None:
    recipe = RotationRecipe(arch="test_resnet", size=32, epochs=1, batch_size=32)
    check_method(recipe)
    pretrain(recipe, Run(data=data, loader="webdataset", out=out, device="cpu"))


if __name__ == "__main__":
    main(*sys.argv[1:])
