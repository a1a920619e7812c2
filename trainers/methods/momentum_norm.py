"""Momentum BatchNorm: a teacher normalizes by a mix of the batch's statistics and its running statistics.

    normalize   (x - mu') / sqrt(v' + eps)     mu' = a mu + (1 - a) M,  v' = a v n/(n-1) + (1 - a) V
    update      M, V <- a (mu, v n/(n-1)) + (1 - a) (M, V)     after two passes, with the mean of their mu and v
    schedule    a = (cos(pi t / T) + 1) / 2     from the batch's statistics to running ones

Momentum^2 Teacher, arXiv:2101.07525 (spec: Spatial Ensemble B.5). v is unbiased already; the release corrects it by
n/(n-1) a second time. The release keeps running statistics on each GPU and saves those of rank 0; here they are the
mean over groups and ranks, so the ranks agree and their number changes nothing. In the release, eval mode normalizes
as in training and counts as a pass; here it is the eval mode of BatchNorm.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..nets.norms import activate, affine, at_least_fp32, averaged, replaced
from ..ranks import world_size
from ..schedules import half_cosine


def batch_momentum(step: int, total: int) -> float:
    """The momentum a after `step` of `total` steps: falls from 1 to 0."""
    return half_cosine(step, total)


def mixed(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    a: Tensor | float,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    groups: int = 1,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """One pass: x [N, C, ...], running mean and var [C] -> normalized x, statistics [2, C].

    The statistics are the mean and the unbiased variance of `groups` groups of neighbors, averaged over the groups;
    they carry no gradient.
    """
    parts = at_least_fp32(x).unflatten(0, (groups, -1))  # [G, N / G, C, ...]
    v, mu = torch.var_mean(parts, dim=[1, *range(3, parts.dim())], keepdim=True)  # [G, 1, C, 1...]
    shape, bessel = mu.shape[2:], _bessel(x, groups)
    mu_used = a * mu + (1 - a) * mean.view(shape)
    v_used = a * bessel * v + (1 - a) * var.view(shape)
    y = ((parts - mu_used) * (v_used + eps).rsqrt()).flatten(0, 1)
    seen = torch.stack([mu, v]).detach().flatten(2).mean(dim=1)  # [2, C]
    return affine(y, weight, bias).to(x.dtype), seen


def moved(mean: Tensor, var: Tensor, seen: Tensor, a: Tensor | float, bessel: float) -> tuple[Tensor, Tensor]:
    """Running mean and var [C] after two passes of `mixed`; `seen` [2, C] is the mean of the two passes' statistics."""
    return a * seen[0] + (1 - a) * mean, a * bessel * seen[1] + (1 - a) * var


def _bessel(x: Tensor, groups: int) -> float:
    """n / (n - 1) for n values per channel and group."""
    n = x.numel() // x.shape[1] // groups
    return n / (n - 1)


class MomentumBatchNorm(_BatchNorm):
    """Momentum BatchNorm of [N, C] or [N, C, ...] with the state dict of BatchNorm; `groups` divide the global batch.

    A step has two passes in train mode: the first keeps its statistics, the second moves the running statistics.
    """

    a: Tensor

    def __init__(self, features: int, groups: int = 1, *, eps: float = 1e-5, affine: bool = True):
        super().__init__(features, eps, affine=affine)
        self.groups = groups
        self.register_buffer("a", torch.ones(()), persistent=False)
        self.seen: Tensor | None = None  # [2, C], between the passes of a step

    def begin(self, a: float) -> None:
        """Start a step: set its momentum and forget an unpaired pass."""
        self.a.fill_(a)
        self.seen = None

    def forward(self, input: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        assert mean is not None
        assert var is not None
        if not self.training:
            return activate(self, F.batch_norm(input, mean, var, self.weight, self.bias, eps=self.eps))
        local = self.groups // world_size()
        y, seen = mixed(input, mean, var, self.a, self.weight, self.bias, groups=local, eps=self.eps)
        if self.seen is None:
            self.seen = seen
        else:
            both, self.seen = averaged((self.seen + seen) / 2), None
            for running, new in zip((mean, var), moved(mean, var, both, self.a, _bessel(input, local)), strict=True):
                running.copy_(new)
        return activate(self, y)


def with_momentum(net: nn.Module, groups: int) -> nn.Module:
    """`net` with every BatchNorm replaced by a MomentumBatchNorm that holds the same parameters and buffers."""
    return replaced(net, lambda old: MomentumBatchNorm(old.num_features, groups, eps=old.eps, affine=old.affine))


def begin(net: nn.Module, a: float) -> None:
    """Start a step with momentum `a` in every MomentumBatchNorm of `net`."""
    for module in net.modules():
        if isinstance(module, MomentumBatchNorm):
            module.begin(a)
