"""The projection head of DINO, and the last layer whose weights have a length of their own."""

import torch.nn.functional as F
from torch import Tensor, nn

from ..nets.norms import at_least_fp32


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
            linear = nn.Linear(*widths[number : number + 2])
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
            parts.append(linear)
            if number < layers - 1:
                parts += [nn.BatchNorm1d(hidden), nn.GELU()] if norm else [nn.GELU()]
        self.mlp = nn.Sequential(*parts) if layers > 1 else parts[0]
        self.last_layer = Prototypes(dim, outputs, fixed=fixed)

    def forward(self, x: Tensor) -> Tensor:
        return self.last_layer(F.normalize(at_least_fp32(self.mlp(x)), dim=1))
