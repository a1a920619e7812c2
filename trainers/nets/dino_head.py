"""The projection head of DINO, whose last layer keeps the lengths of its weights apart (spec: beyond 3.4).

The names of parameters are those of the release.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from .norms import at_least_fp32


class Bottleneck(nn.Module):
    """An MLP of `layers` layers with GELU: features [N, width] -> unit rows [N, dim], which SEED takes of a teacher.

    `norm`: BatchNorm after each hidden layer."""

    def __init__(self, width: int, dim: int = 256, *, hidden: int = 2048, layers: int = 3, norm: bool = False):
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

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(at_least_fp32(self.mlp(x)), dim=1)


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


class Head(Bottleneck):
    """A `Bottleneck`, then `Prototypes`: features [N, width] -> scores [N, outputs]."""

    def __init__(
        self,
        width: int,
        outputs: int,
        dim: int = 256,
        *,
        hidden: int = 2048,
        layers: int = 3,
        norm: bool = False,
        fixed: bool = True,
    ):
        super().__init__(width, dim, hidden=hidden, layers=layers, norm=norm)
        self.last_layer = Prototypes(dim, outputs, fixed=fixed)

    def forward(self, x: Tensor) -> Tensor:
        return self.last_layer(super().forward(x))
