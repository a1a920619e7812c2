"""LARC: SGD on gradients that are scaled by the ratio of the norm of their weight to their own.

    r = eta |w| / (|g| + wd |w| + 1e-8),  u = r (g + wd w)   if neither |w| nor |g| is 0, else u = g
    b <- mu b + u;  w <- w - lr b

As in NVIDIA's apex, with which SwAV trains (spec: methods beyond 2.4): every tensor is adapted, biases and norms too, a
tensor of zeros neither scales nor decays, and the rate is outside of the momentum. `clip`: r is at most lr.
"""
# pyright: reportPrivateImportUsage=false

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .lars import LARS, norms


class LARC(LARS):
    """The optimizer of parameters, or of groups of them; `trust` is eta. Scaled losses as in LARS."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
        clip: bool = False,
    ):
        super().__init__(params, lr, momentum=momentum, weight_decay=weight_decay, trust=trust)
        self.clip = clip

    def _rates(self, lr: float) -> tuple[float, float]:
        return 1.0, lr

    def _updates(self, weights: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        w, g = norms(weights), norms(grads)  # [T]
        factor, decay = group["trust"] * w / (g + group["weight_decay"] * w + 1e-8), group["weight_decay"]
        if self.clip:
            factor = (factor / group["lr"]).clamp(max=1.0)
        adapted = (w != 0) & (g != 0)
        scaled = torch._foreach_mul(grads, torch.where(adapted, factor, 1.0).unbind())
        decayed = torch._foreach_mul(weights, torch.where(adapted, factor * decay, 0.0).unbind())
        return list(torch._foreach_add(scaled, decayed))
