"""Supervised: cross-entropy on labels; also second stages and linear probes, whose backbone is fixed.

    loss    -log softmax(c(f(x)))[y]      f = backbone, c = classifier
    update  only the optimizer's step

BalFeat's second stage freezes the backbone's weights but lets its BatchNorm statistics drift; here a fixed backbone is
in eval mode unless `frozen_bn` is `train`. Spatial Ensemble's probe has BatchNorm after the classifier, ssl-small's
transfer normalizes the features before it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...pipeline.batch import Batch
from ..nets.encoder import Encoder
from .parts import split_bn
from .protocol import Now, Stats


class Unit(nn.Module):
    """Normalize rows to length one."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=1)


def classifier(kind: str, width: int, classes: int, *, bias: bool = True, small: bool = False) -> nn.Module:
    """A classifier of `kind`: features [N, width] -> scores [N, classes].

    `small`: weights from N(0, 0.01^2) and bias 0, as in all the probes. Without `bias` the bias stays at zero.
    """
    last = nn.Linear(width, classes)
    if small:
        nn.init.normal_(last.weight, std=0.01)
    if small or not bias:
        nn.init.zeros_(last.bias)
    last.bias.requires_grad_(bias)
    if kind == "batchnorm":
        return nn.Sequential(last, nn.BatchNorm1d(classes))
    return nn.Sequential(Unit(), last) if kind == "normalized" else last


class Supervised(nn.Module):
    """Cross-entropy of `online`, images -> scores [N, C].

    `frozen` trains its head alone. BatchNorm statistics are taken in `bn_groups` groups; 0: the batch is not split.
    """

    def __init__(self, online: Encoder, *, frozen: bool = False, frozen_bn: str = "eval", bn_groups: int = 8):
        super().__init__()
        self.online, self.frozen, self.bn_groups = online, frozen, bn_groups
        self.fixed = frozen and frozen_bn == "eval"  # the backbone's statistics too
        if frozen:
            online.backbone.requires_grad_(False)

    @property
    def backbone(self) -> nn.Module:
        return self.online.backbone

    def train(self, mode: bool = True) -> "Supervised":
        super().train(mode)
        if self.fixed:
            self.online.backbone.eval()
        return self

    def split_bn(self, net: nn.Module, x: Tensor) -> Tensor:
        """net(x), BatchNorm statistics taken by group."""
        return split_bn(net, x, self.bn_groups) if self.bn_groups else net(x)

    def before_step(self, now: Now) -> None:
        """Nothing moves by rule."""

    def forward(self, batch: Batch, now: Now) -> tuple[Tensor, Stats]:
        (x,) = batch.views
        if self.frozen:
            with torch.no_grad():
                features = self.online.backbone(x) if self.fixed else self.split_bn(self.online.backbone, x)
            scores = self.split_bn(self.online.head, features)
        else:
            scores = self.split_bn(self.online, x)
        scores = scores.float()  # [N, C]
        acc1 = (scores.argmax(dim=1) == batch.target).float().mean()
        return F.cross_entropy(scores, batch.target), {"acc1": acc1}

    def after_step(self, now: Now) -> None:
        """Nothing moves by rule."""
