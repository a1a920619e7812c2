"""Spatial Ensemble: BYOL whose teacher follows the student in randomly chosen pieces and keeps the others.

    loss    as in BYOL
    update  g <- m g + (1 - m) f in each piece with chance 1 - p,  else g <- g     before the forward;  m as in BYOL

arXiv:2110.01253 (spec: Spatial Ensemble B.3). Pieces are parameter tensors in the release; this project adds the other
granularities. BatchNorm's running statistics are never copied. The release draws unseeded coins in every process, so
the teachers of its GPUs drift apart, and it saves the one of rank 0; here coins are keyed. The release also tosses them
when the teacher first copies the student, so that a share p of its tensors starts with random weights of its own: pass
these weights as `target`. Without `target` the copy is full.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..recipes import options
from .byol import BYOL, momentum, network, predictor
from .masks import bernoulli_masks, mask_shapes
from .method import Now


@torch.no_grad()
def ensemble_(targets: Sequence[Tensor], onlines: Sequence[Tensor], momentum: float, masks: Sequence[Tensor]) -> None:
    """target <- momentum target + (1 - momentum) online where the mask, bool and broadcast to the target, is true.

    All masks become weights at once. Where weights have the shapes of their targets, a GPU updates many tensors in one
    launch, otherwise one.
    """
    weights = torch.cat([mask.flatten() for mask in masks]).to(targets[0].dtype) * (1 - momentum)
    parts = weights.split([mask.numel() for mask in masks])
    shaped = [part.view(mask.shape) for part, mask in zip(parts, masks, strict=True)]
    torch._foreach_lerp_(list(targets), list(onlines), shaped)  # pyright: ignore


class STS(BYOL):
    """BYOL whose teacher keeps a share `preserve` of its pieces of this `granularity` unchanged in each step.

    `target` holds the teacher's own weights; coins of `seed` choose the pieces that first take the student's weights.
    """

    def __init__(
        self,
        online: nn.Module,
        predictor: nn.Module,
        *,
        momentum: float = 0.99,
        preserve: float = 0.7,
        granularity: str = "tensor",
        target: nn.Module | None = None,
        seed: int = 0,
    ):
        super().__init__(online, predictor, momentum=momentum, target=target)
        self.preserve = preserve
        self.names, self.shapes = mask_shapes(self.target, granularity)
        if target is not None:
            self._follow(0.0, Now(-1, 0, seed))

    @classmethod
    def build(cls, recipe: options.BYOL, classes: int) -> "STS":
        assert isinstance(recipe, options.STS)
        return cls(
            network(recipe),
            predictor(recipe.dim, recipe.hidden),
            momentum=recipe.key_momentum,
            preserve=recipe.preserve,
            granularity=recipe.granularity,
            target=network(recipe) if recipe.initial_copy == "coin" else None,
            seed=recipe.seed,
        )

    def before_step(self, now: Now) -> None:
        self._follow(momentum(now.step, now.total, self.momentum), now)

    def _follow(self, m: float, now: Now) -> None:
        targets, onlines = list(self.target.parameters()), list(self.online.parameters())
        device = targets[0].device
        masks = bernoulli_masks(self.names, self.shapes, self.preserve, seed=now.seed, step=now.step, device=device)
        ensemble_(targets, onlines, m, masks)
