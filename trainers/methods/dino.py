"""DINO: a student gives every crop of an image the scores that a slow copy of it gives the image's other large crop.

    loss    the mean over pairs i != v of -softmax((t_i - c) / T_t) . log softmax(s_v / T_s)    i: large crops, v: all
    update  c <- 0.9 c + 0.1 mean(t) and g <- m g + (1 - m) f after the step;  m rises from m0 to 1 on a cosine

arXiv:2104.14294 (spec: beyond 3). The teacher's temperature goes by the epoch, weight decay on a cosine by the step.
Each gradient is clipped by its own norm, and the last layer learns nothing in the first epochs. BatchNorm, if there is
any, takes its statistics over all ranks; the teacher is in train mode and keeps its own.
"""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...augment.spec import Views
from ...pipeline.batch import Batch
from ...shards.manifest import Manifest
from ..nets.dino_head import Head
from ..nets.dropout import drop_paths
from ..nets.encoder import backbone
from ..nets.norms import at_least_fp32, averaged, synchronized
from ..recipes import options
from ..schedules import cosine_between
from .dino_parts import clip_, epoch, teacher_temperature
from .method import Method, Now, Stats
from .multicrop import MultiCrop
from .parts import check_views, ema_, frozen_copy, two_and_smaller
from .shadow import Shadow


def targets(t: Tensor, center: Tensor, temperature: float) -> Tensor:
    """The teacher's scores [2, N, K] of the large crops, center [K] -> probabilities [2, N, K]."""
    return ((t - center) / temperature).softmax(dim=2)


def loss(s: Tensor, q: Tensor, temperature: float, *, each: bool = False) -> Tensor:
    """The student's scores [V, N, K], large crops first, targets q [2, N, K] -> the mean over pairs of two crops;
    `each`: that of each image, [N]."""
    log_p = (s / temperature).log_softmax(dim=2)
    others = log_p.sum(dim=0) - log_p[:2]  # for each large crop, all crops but itself
    rows = (q * others).sum(dim=2)  # [2, N]
    return -(rows.mean(dim=0) if each else rows.mean()) / (len(s) - 1)


class DINO(Method):
    """DINO of a student `online`, views -> scores [V N, K], by the numbers of `recipe`."""

    center: Tensor

    def __init__(self, online: MultiCrop, recipe: options.DINO):
        super().__init__()
        self.online, self.target, self.recipe = online, frozen_copy(online), recipe
        drop_paths(online.backbone, recipe.drop_path)
        self.shadow = Shadow(self.target)
        self.register_buffer("center", torch.zeros(recipe.dim))
        synchronized(self)

    @classmethod
    def build(cls, recipe: options.DINO, classes: int) -> "DINO":
        body, width = backbone(recipe.arch, recipe.stem)
        shape, norm = (width, recipe.dim, recipe.bottleneck), recipe.head_bn
        head = Head(*shape, hidden=recipe.hidden, norm=norm, fixed=recipe.fixed_norm)
        return cls(MultiCrop(body, head), recipe)

    @classmethod
    def check(cls, recipe: options.DINO, views: Views, data: Manifest) -> None:
        check_views(recipe, views, two_and_smaller, "two views of one size, and smaller ones of one size if any")

    @property
    def backbone(self) -> nn.Module:
        return self.target.get_submodule("backbone")

    def before_step(self, now: Now) -> None:
        self.now, self.means = now, list[Tensor]()  # of the teacher's scores in each part of the batch, [K]

    def forward(self, batch: Batch, now: Now) -> tuple[Tensor, Stats]:
        s = self.online(batch.views)
        with torch.no_grad():
            t = self.shadow.network()(batch.views[:2])
        with torch.autocast(s.device.type, enabled=False):
            s, t = (at_least_fp32(rows).unflatten(0, (-1, len(batch.index))) for rows in (s, t))  # [V or 2, N, K]
            self.means.append(t.mean(dim=(0, 1)))
            q = targets(t, self.center, teacher_temperature(self.recipe, epoch(self.recipe, now)))
            self.keep(lambda: loss(s, q, self.recipe.temperature, each=True))
            return loss(s, q, self.recipe.temperature), {"entropy": torch.special.entr(q).sum(dim=2).mean()}

    def before_update(self, optimizer: Optimizer) -> None:
        recipe, (step, total, _) = self.recipe, self.now
        decay = cosine_between(step, total, recipe.weight_decay, recipe.weight_decay_end)
        optimizer.param_groups[0]["weight_decay"] = decay  # the other group has none
        if recipe.clip:
            clip_(self.online.parameters(), recipe.clip, getattr(optimizer, "grad_scale", None))
        if epoch(recipe, self.now) < recipe.freeze_last:
            for p in self.online.get_submodule("head.last_layer").parameters():
                p.grad = None

    def after_step(self, now: Now) -> None:
        ema_(self.target, self.online, cosine_between(now.step, now.total, self.recipe.key_momentum, 1.0))
        mean = averaged(torch.stack(self.means).mean(dim=0))
        self.center.lerp_(mean.to(self.center.dtype), 1 - self.recipe.center_momentum)
