"""Spatial Ensemble: BYOL whose teacher follows the student in some pieces, chosen by coins, and preserves the others.

    loss    BYOL's
    update  g <- m g + (1 - m) f in each piece with chance 1 - p,  else g <- g     before the forward;  m as BYOL's

arXiv:2110.01253 (spec: Spatial Ensemble B.3). Pieces are parameter tensors in the release, the other granularities are
ours; BatchNorm's running statistics are never copied. The release draws unseeded coins in every process, so its GPUs'
teachers drift apart and rank 0's is saved; here coins are keyed. It also tosses them when the teacher first copies the
student, so that a share p of its tensors begins with random weights of its own: pass these as `target`, or else the
copy is full.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .byol import BYOL, momentum
from .masks import bernoulli_masks, mask_shapes
from .protocol import Now


@torch.no_grad()
def ensemble_(targets: Sequence[Tensor], onlines: Sequence[Tensor], momentum: float, masks: Sequence[Tensor]) -> None:
    """target <- momentum target + (1 - momentum) online where the mask, bool of any shape that broadcasts, is true."""
    for target, online, mask in zip(targets, onlines, masks, strict=True):
        target.lerp_(online, mask.to(target.dtype) * (1 - momentum))


class STS(BYOL):
    """BYOL's arguments; a share `preserve` of the teacher's pieces of this `granularity` stays as it is in each step.

    `target` holds the teacher's own weights and takes its first copy of the student by coins of `seed`.
    """

    def __init__(
        self, online: nn.Module, predictor: nn.Module, *, momentum: float = 0.99, preserve: float = 0.7,
        granularity: str = "tensor", target: nn.Module | None = None, seed: int = 0,
    ):  # fmt: skip
        super().__init__(online, predictor, momentum=momentum, target=target)
        self.preserve = preserve
        self.names, self.shapes = mask_shapes(self.target, granularity)
        if target is not None:
            self._follow(0.0, Now(-1, 0, seed))

    def before_step(self, now: Now) -> None:
        self._follow(momentum(now.step, now.total, self.momentum), now)

    def _follow(self, m: float, now: Now) -> None:
        targets, onlines = list(self.target.parameters()), list(self.online.parameters())
        device = targets[0].device
        masks = bernoulli_masks(self.names, self.shapes, self.preserve, seed=now.seed, step=now.step, device=device)
        ensemble_(targets, onlines, m, masks)
