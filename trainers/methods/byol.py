"""BYOL: predict how a slowly moving copy of the network sees an image's other view.

    loss    4 - 2 (q1.k1 + q2.k2)     q1, q2 = p(f(x1)), p(f(x2))  and  k1, k2 = g(x2), g(x1),  all of length one
    update  g <- m g + (1 - m) f before the forward;  m = 1 - (1 - m0) (cos(pi t / T) + 1) / 2

arXiv:2006.07733, as Spatial Ensemble's program has it (spec: Spatial Ensemble B.1, B.2): m0 = 0.99, four passes with
BatchNorm statistics of their own over the global batch, the teacher's too, which is in train mode and is what
evaluations use. The update comes first at step 0 as well, when teacher and student are equal and it changes nothing.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...pipeline.batch import Batch
from ..nets.encoder import Encoder
from ..nets.norms import synchronised, wide
from .parts import ema_, frozen_copy
from .protocol import Now, Stats


def loss(q1: Tensor, q2: Tensor, k1: Tensor, k2: Tensor) -> Tensor:
    """Unit rows [N, D]: student of view 1 and 2, teacher of view 2 and 1 -> the mean of squared distances, 0 to 8."""
    return (4 - 2 * ((q1 * k1).sum(dim=1) + (q2 * k2).sum(dim=1))).mean()


def spread(k: Tensor) -> Tensor:
    """Unit rows [N, D] -> 1 if they point everywhere alike, 0 if all have collapsed into one."""
    return (k - k.mean(dim=0)).square().sum(dim=1).mean()


def momentum(step: int, total: int, base: float) -> float:
    """m at optimizer step `step` of `total`: from `base` towards 1."""
    return 1 - (1 - base) * (math.cos(math.pi * step / total) + 1) / 2


def projector(width: int, hidden: int = 4096, dim: int = 256) -> nn.Sequential:
    """Features [N, width] -> [N, dim]."""
    return nn.Sequential(
        nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim)
    )  # fmt: skip


def predictor(dim: int = 256, hidden: int = 4096) -> nn.Sequential:
    """The student's embeddings [N, dim] -> guesses of the teacher's [N, dim]."""
    return projector(dim, hidden, dim)


class BYOL(nn.Module):
    """`online` maps images to [N, dim], `predictor` [N, dim] to [N, dim]; both views' batches are global.

    `target` is the teacher at the start, a copy of `online` if None; `sync`: BatchNorm counts all ranks' images.
    """

    def __init__(
        self, online: nn.Module, predictor: nn.Module, *, momentum: float = 0.99, target: nn.Module | None = None,
        sync: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.online, self.predictor = online, predictor
        self.target = frozen_copy(online) if target is None else target.requires_grad_(False)
        self.momentum = momentum
        if sync:
            synchronised(self)

    @property
    def backbone(self) -> nn.Module:
        assert isinstance(self.target, Encoder)
        return self.target.backbone

    def before_step(self, now: Now) -> None:
        ema_(self.target, self.online, momentum(now.step, now.total, self.momentum))

    def student(self, x: Tensor) -> Tensor:
        """Images -> guesses of the teacher's embeddings [N, dim]."""
        return self.predictor(self.online(x))

    def forward(self, batch: Batch, now: Now) -> tuple[Tensor, Stats]:
        x1, x2 = batch.views
        q1, q2 = self.student(x1), self.student(x2)
        with torch.no_grad():
            k1, k2 = self.target(x2), self.target(x1)
        with torch.autocast(x1.device.type, enabled=False):
            q1, q2, k1, k2 = (F.normalize(wide(rows), dim=1) for rows in (q1, q2, k1, k2))  # [N, D]
            return loss(q1, q2, k1, k2), {"spread": spread(k1)}

    def after_step(self, now: Now) -> None:
        """Nothing moves by rule after the step."""
