"""Parts of DINO: which views it takes, what goes by the epoch, the clipping of gradients, the projection head."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...augment.spec import Views, size_of
from ..nets.norms import at_least_fp32
from ..recipes.options import DINO
from ..schedules import linspace
from .method import Now


def two_and_smaller(views: Views) -> bool:
    """Whether there are two views of one size, and maybe smaller ones of one size."""
    large, small = [size_of(view) for view in views[:2]], {size_of(view) for view in views[2:]}
    return len(large) == 2 and large[0] == large[1] and len(small) < 2 and all(size < large[0] for size in small)


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


class Prototypes(nn.Module):
    """A linear layer without bias, rows of width `dim` -> scores [N, outputs], whose weight vector of each output is
    `weight_v` at the length `weight_g`: 1 in the beginning, and for ever if it is `fixed`."""

    def __init__(self, dim: int, outputs: int, *, fixed: bool):
        super().__init__()
        linear = nn.Linear(dim, outputs, bias=False)
        self.weight_g = nn.Parameter(linear.weight.new_ones(outputs, 1), requires_grad=not fixed)
        self.weight_v = linear.weight

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight_v * (self.weight_g / self.weight_v.norm(dim=1, keepdim=True)))


class Head(nn.Module):
    """An MLP of `layers` layers with GELU, unit length, and `Prototypes`: features [N, width] -> scores [N, outputs].

    `norm`: BatchNorm after each hidden layer. The names of parameters are those of the release (spec: beyond 3.4).
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        *,
        hidden: int = 2048,
        dim: int = 256,
        layers: int = 3,
        norm: bool = False,
        fixed: bool = True,
    ):
        super().__init__()
        widths, parts = [width, *[hidden] * (layers - 1), dim], list[nn.Module]()
        for number in range(layers):
            linear = nn.Linear(widths[number], widths[number + 1])
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
            parts.append(linear)
            if number < layers - 1:
                parts += [nn.BatchNorm1d(hidden), nn.GELU()] if norm else [nn.GELU()]
        self.mlp = nn.Sequential(*parts) if layers > 1 else parts[0]
        self.last_layer = Prototypes(dim, outputs, fixed=fixed)

    def forward(self, x: Tensor) -> Tensor:
        return self.last_layer(F.normalize(at_least_fp32(self.mlp(x)), dim=1))
