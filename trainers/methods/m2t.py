"""Momentum^2 Teacher: BYOL without BatchNorm over all ranks; the teacher's BatchNorm statistics have a momentum too.

    loss    as in BYOL; the student takes BatchNorm statistics over groups of neighbors, such as one GPU's share
    update  as in BYOL for the parameters; the teacher's running statistics move towards those of the batches with a
            momentum that falls from 1 to 0, see momentum_norm.py

arXiv:2101.07525 (spec: Spatial Ensemble B.1 to B.5).
"""

from torch import nn

from ...augment.spec import Views
from ...shards.manifest import Manifest
from ..nets.grouped_norm import grouped
from ..recipes import options
from ..recipes.options import Recipe
from . import momentum_norm
from .byol import BYOL, network, predictor
from .method import Now
from .parts import check_groups, check_whole_batch, frozen_copy


class M2T(BYOL):
    """BYOL with BatchNorm statistics in `bn_groups` groups of the global batch, in student and teacher."""

    def __init__(self, online: nn.Module, predictor: nn.Module, *, momentum: float = 0.99, bn_groups: int = 8):
        target = momentum_norm.with_momentum(frozen_copy(online), bn_groups)
        grouped(online, bn_groups)
        grouped(predictor, bn_groups)
        super().__init__(online, predictor, momentum=momentum, target=target, sync=False)

    @classmethod
    def build(cls, recipe: options.BYOL, classes: int) -> "M2T":
        assert isinstance(recipe, options.M2T)
        nets = network(recipe), predictor(recipe.dim, recipe.hidden)
        return cls(*nets, momentum=recipe.key_momentum, bn_groups=recipe.bn_groups)

    @classmethod
    def check(cls, recipe: Recipe, views: Views, data: Manifest) -> None:
        assert isinstance(recipe, options.M2T)
        super().check(recipe, views, data)
        check_groups(recipe.bn_groups, recipe.batch_size)
        check_whole_batch(recipe, "its teacher's BatchNorm pairs the two passes of a step")

    def before_step(self, now: Now) -> None:
        super().before_step(now)
        momentum_norm.begin(self.target, momentum_norm.batch_momentum(now.step, now.total))

    def after_step(self, now: Now) -> None:
        momentum_norm.end(self.target, momentum_norm.batch_momentum(now.step, now.total))
