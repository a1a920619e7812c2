"""LARS: SGD that scales the rate of each weight by the ratio of its norm to the norm of its gradient.

    r = lr eta |w| / (|g| + wd |w|)   for adapted weights with |w| |g| > 1e-8, else lr
    b <- mu b + r (g + wd w);  w <- w - b

arXiv:1708.03888, as in the program of Momentum^2 Teacher (spec: Spatial Ensemble B.6): the rate is inside the momentum,
and weights that are not adapted (biases, norms) decay as well.
"""
# pyright: reportPrivateImportUsage=false, reportPrivateUsage=false

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


def groups_of(module: nn.Module) -> list[dict[str, Any]]:
    """Two parameter groups of everything that takes gradients: `adapted` are the weights of convolutions and linear
    layers."""
    weights = {id(m.weight) for m in module.modules() if isinstance(m, _ConvNd | nn.Linear)}
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if (id(p) in weights) == adapted], "adapted": adapted}
        for adapted in (True, False)
    ]


class LARS(torch.optim.Optimizer):
    """The optimizer. Each group has a flag `adapted` beside its params; `trust` is eta.

    For a step torch's GradScaler sets `grad_scale` and `found_inf`, scalars on the device: gradients are divided by the
    first, and a step whose second is not zero changes nothing.
    """

    _step_supports_amp_scaling = True  # else GradScaler reads on the host, in each step, whether to skip it

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
    ):
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update every parameter that has a gradient, without waiting for the GPU."""
        for group in self.param_groups:
            if weights := [p for p in group["params"] if p.grad is not None]:
                self._update(weights, group)

    def _update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        grads: list[Tensor] = [w.grad for w in weights]  # pyright: ignore[reportAssignmentType]
        scale, overflow = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        if scale is not None:
            grads = list(torch._foreach_mul(grads, scale.double().reciprocal().float()))
        for w in weights:
            if not self.state[w]:
                self.state[w]["momentum_buffer"] = torch.zeros_like(w)
        buffers = [self.state[w]["momentum_buffer"] for w in weights]
        updates = torch._foreach_add(grads, weights, alpha=group["weight_decay"])
        if group["adapted"]:
            w, g = (torch.stack(torch._foreach_norm(tensors)) for tensors in (weights, grads))  # [T]
            factors = ratios(w, g, group["weight_decay"], group["trust"])
            updates = torch._foreach_mul(updates, factors.unbind())
        momentum, part = group["momentum"], None
        if overflow is not None:  # by `where`, since 0 times an infinite update is no number
            updates = [torch.where(overflow > 0, 0.0, update) for update in updates]
            momentum, part = torch.where(overflow > 0, 1.0, momentum), torch.where(overflow > 0, 0.0, 1.0)
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, updates, alpha=group["lr"])
        torch._foreach_sub_(weights, buffers if part is None else torch._foreach_mul(buffers, part))


def ratios(weight: Tensor, grad: Tensor, weight_decay: float, trust: float) -> Tensor:
    """Norms of weights and of their gradients, [T] each -> factors on lr, [T]."""
    ratio = trust * weight / (grad + weight_decay * weight)
    return torch.where(weight * grad > 1e-8, ratio, 1.0)
