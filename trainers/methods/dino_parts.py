"""Parts of DINO: what goes by the epoch, and the clipping of gradients."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..recipes.options import DINO
from ..schedules import linspace
from .method import Now


def epoch(recipe: DINO, now: Now) -> int:
    """The epoch, counted from 0."""
    return now.step * recipe.epochs // now.total


def teacher_temperature(recipe: DINO, epoch: int) -> float:
    """The temperature of the teacher in an epoch."""
    first, last = recipe.teacher_warmup_temperature, recipe.teacher_temperature
    return linspace(epoch, recipe.teacher_warmup_epochs, first, last)


@torch.no_grad()
def clip_(parameters: Iterable[nn.Parameter], limit: float, scale: Tensor | None = None) -> None:
    """Shorten each gradient whose norm is above `limit` to it, whatever the others are. `scale`, a scalar: the factor
    that the gradients are still multiplied by."""
    grads = [p.grad for p in parameters if p.grad is not None]
    norms = torch.stack(torch._foreach_norm(grads))  # pyright: ignore[reportPrivateImportUsage]
    if scale is not None:
        norms = norms / scale
    factors = (limit / (norms + 1e-6)).clamp(max=1)
    torch._foreach_mul_(grads, factors.unbind())  # pyright: ignore[reportPrivateImportUsage]
