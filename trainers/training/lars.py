"""LARS: SGD that scales the rate of each weight by the ratio of its norm to the norm of its gradient.

    r = lr eta |w| / (|g| + wd |w|)   for adapted weights with |w| |g| > 1e-8, else lr
    b <- mu b + r (g + wd w);  w <- w - b

arXiv:1708.03888, as in the program of Momentum^2 Teacher (spec: Spatial Ensemble B.6): the rate is inside the momentum,
and weights that are not adapted (biases, norms) decay as well. SimCLR's program exempts these from decay too, and takes
r = lr eta |w| / |g + wd w|, or lr where one of the norms is 0: `joint` (spec: methods beyond 1.4).
"""
# pyright: reportPrivateImportUsage=false, reportPrivateUsage=false

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


def groups_of(module: nn.Module, *, others_decay: bool = True) -> list[dict[str, Any]]:
    """Two parameter groups of everything that takes gradients: `adapted` are the weights of convolutions and linear
    layers; the others decay as well, or not at all."""
    weights = {id(m.weight) for m in module.modules() if isinstance(m, _ConvNd | nn.Linear)}
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if (id(p) in weights) == adapted], "adapted": adapted}
        | ({} if adapted or others_decay else {"weight_decay": 0.0})
        for adapted in (True, False)
    ]


class LARS(torch.optim.Optimizer):
    """The optimizer. Each group has a flag `adapted` beside its params; `trust` is eta, `joint` SimCLR's ratio.

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
        joint: bool = False,
    ):
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})
        self.joint = joint

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
        updates, (inside, outside) = self._updates(weights, grads, group), self._rates(group["lr"])
        momentum, part = group["momentum"], None
        if overflow is not None:  # by `where`, since 0 times an infinite update is no number
            updates = [torch.where(overflow > 0, 0.0, update) for update in updates]
            momentum, part = torch.where(overflow > 0, 1.0, momentum), torch.where(overflow > 0, 0.0, 1.0)
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, updates, alpha=inside)
        torch._foreach_sub_(weights, buffers if part is None else torch._foreach_mul(buffers, part), alpha=outside)

    def _rates(self, lr: float) -> tuple[float, float]:
        """The factors of an update inside the momentum, and of the momentum itself."""
        return lr, 1.0

    def _updates(self, weights: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """What the momentum of each weight gathers, but for the rate."""
        decay = group["weight_decay"]
        updates = list(torch._foreach_add(grads, weights, alpha=decay))
        if not group["adapted"]:
            return updates
        w, g = norms(weights), norms(updates if self.joint else grads)
        factors = joint_ratios(w, g, group["trust"]) if self.joint else ratios(w, g, decay, group["trust"])
        return list(torch._foreach_mul(updates, factors.unbind()))


def norms(tensors: list[Tensor]) -> Tensor:
    """The norm of each tensor, [T]."""
    return torch.stack(torch._foreach_norm(tensors))


def ratios(weight: Tensor, grad: Tensor, weight_decay: float, trust: float) -> Tensor:
    """Norms of weights and of their gradients, [T] each -> factors on lr, [T]."""
    ratio = trust * weight / (grad + weight_decay * weight)
    return torch.where(weight * grad > 1e-8, ratio, 1.0)


def joint_ratios(weight: Tensor, update: Tensor, trust: float) -> Tensor:
    """Norms of weights and of their gradients with decay, [T] each -> SimCLR's factors on lr, [T]."""
    return torch.where((weight > 0) & (update > 0), trust * weight / update, 1.0)
