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

from ...augment.spec import Views
from ...pipeline.batch import Batch
from ...shards.manifest import Manifest
from ..nets.encoder import Encoder, backbone
from ..nets.grouped_norm import grouped
from ..recipes import options
from .method import Method, Now, Stats
from .parts import check_groups, check_views, one_view


class Scores(nn.Linear):
    """A linear layer that is exact inside autocast too: a bf16 score of 14 is off by up to 1/32."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.to(self.weight.dtype))


class Unit(nn.Module):
    """Normalize rows to length one, also inside autocast without rounding them."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=1)


def classifier(kind: str, width: int, classes: int, *, bias: bool = True, small: bool = False) -> nn.Module:
    """A classifier of `kind`: features [N, width] -> scores [N, classes].

    `small`: weights from N(0, 0.01^2) and bias 0, as in all the probes. Without `bias` the bias stays at zero.
    """
    last = Scores(width, classes)
    if small:
        nn.init.normal_(last.weight, std=0.01)
    if small or not bias:
        nn.init.zeros_(last.bias)
    last.bias.requires_grad_(bias)
    if kind == "batchnorm":
        return nn.Sequential(last, nn.BatchNorm1d(classes))
    return nn.Sequential(Unit(), last) if kind == "normalized" else last


def takes_statistics(recipe: options.Supervised) -> bool:
    """Whether training takes BatchNorm statistics: a linear probe in eval mode does not, so its batch has any size."""
    return recipe.classifier == "batchnorm" or recipe.trained == "all" or recipe.frozen_bn == "train"


class Supervised(Method):
    """Cross-entropy of `online`, images -> scores [N, C].

    `frozen` trains its head alone. BatchNorm statistics are taken in `bn_groups` groups; 0: the batch is not split.
    """

    uses_total = False

    def __init__(self, online: Encoder, *, frozen: bool = False, frozen_bn: str = "eval", bn_groups: int = 8):
        super().__init__()
        self.online = online
        self.fixed = frozen and frozen_bn == "eval"  # the backbone's statistics too
        if frozen:
            online.backbone.requires_grad_(False)
        if bn_groups:
            grouped(online, bn_groups)

    @classmethod
    def build(cls, recipe: options.Supervised, classes: int) -> "Supervised":
        body, width = backbone(recipe.arch, recipe.stem, recipe.blocks)
        frozen = recipe.trained == "classifier"
        small = (frozen and recipe.fresh) or recipe.classifier == "normalized"  # not in BalFeat's second stages
        head = classifier(recipe.classifier, width, classes, bias=recipe.bias, small=small)
        groups = recipe.bn_groups if takes_statistics(recipe) else 0
        return cls(Encoder(body, head), frozen=frozen, frozen_bn=recipe.frozen_bn, bn_groups=groups)

    @classmethod
    def check(cls, recipe: options.Supervised, views: Views, data: Manifest) -> None:
        check_views(recipe, views, one_view, "one view")
        data.require_labels(recipe.method)
        if takes_statistics(recipe):
            check_groups(recipe.bn_groups, recipe.batch_size)

    @property
    def backbone(self) -> nn.Module:
        return self.online.backbone

    def train(self, mode: bool = True) -> "Supervised":
        super().train(mode)
        if self.fixed:
            self.online.backbone.eval()
        return self

    def forward(self, batch: Batch, now: Now) -> tuple[Tensor, Stats]:
        (x,) = batch.views
        scores = self.online(x)  # [N, C]; weights that take no gradients record none
        acc1 = (scores.argmax(dim=1) == batch.target).float().mean()
        self.keep(lambda: F.cross_entropy(scores, batch.target, reduction="none"))
        return F.cross_entropy(scores, batch.target), {"acc1": acc1}
