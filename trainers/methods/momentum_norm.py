"""Momentum BatchNorm: a teacher normalizes by a mix of the batch's statistics and its running statistics.

    normalize   (x - mu') / sqrt(v' + eps)     mu' = a mu + (1 - a) M,  v' = a v n/(n-1) + (1 - a) V
    update      M, V <- a (mu, v n/(n-1)) + (1 - a) (M, V)     after two passes, with the mean of their mu and v
    schedule    a = (cos(pi t / T) + 1) / 2     from the batch's statistics to running ones

Momentum^2 Teacher, arXiv:2101.07525 (spec: Spatial Ensemble B.5). v is unbiased already; the release corrects it by
n/(n-1) a second time. The release keeps running statistics on each GPU and saves those of rank 0; here they are the
mean over groups and ranks, so the ranks agree and their number changes nothing. In the release, eval mode normalizes
as in training and counts as a pass; here it is the eval mode of BatchNorm.

A step begins with (1 - a) (M, V) of all layers and ends with one exchange between ranks for all layers. What is left to
a layer takes few launches.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..nets.norms import activate, averaged, replaced
from ..ranks import world_size
from ..schedules import half_cosine


def batch_momentum(step: int, total: int) -> float:
    """The momentum a after `step` of `total` steps: falls from 1 to 0."""
    return half_cosine(step, total)


def statistics(x: Tensor, groups: int) -> Tensor:
    """mu and v n/(n-1) of `groups` groups of neighbors in x [N, C, ...]: [2, G, 1, C, 1...], fp32 if x has fewer
    digits."""
    parts, dtype = x.unflatten(0, (groups, -1)), torch.promote_types(x.dtype, torch.float32)  # [G, N / G, C, ...]
    dims, n = [1, *range(3, parts.dim())], x.numel() // x.shape[1] // groups
    correction = 2 - 1 / n  # a sum of squares over n - correction is v n/(n-1)
    if torch.compiler.is_compiling():  # would round what is written to `out`; fuses the cast instead
        return torch.stack(torch.var_mean(parts.to(dtype), dims, correction=correction, keepdim=True)[::-1])
    both = x.new_empty(2, groups, 1, x.shape[1], *[1] * (x.dim() - 2), dtype=dtype)
    torch.mean(parts, dims, keepdim=True, dtype=dtype, out=both[0])
    torch.var(parts, dims, keepdim=True, correction=correction, out=both[1])
    return both


def normalized(x: Tensor, mean: Tensor, var: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """(x - mean) / sqrt(var) weight + bias of x [N, C, ...] in its dtype, by statistics [G, 1, C, 1...] of its groups
    and weight and bias [C]."""
    scale, rows = var.rsqrt(), (-1, *[1] * (x.dim() - 2))
    if weight is not None:
        scale = scale * weight.view(rows)
    zero = mean.new_zeros(()) if bias is None else bias.view(rows)
    shift, parts = torch.addcmul(zero, mean, scale, value=-1), x.unflatten(0, (len(mean), -1))
    if torch.compiler.is_compiling():
        return torch.addcmul(shift, parts, scale).flatten(0, 1).to(x.dtype)
    y = torch.empty_like(x)
    torch.addcmul(shift, parts, scale, out=y.unflatten(0, (len(mean), -1)))  # no copy of x with more digits
    return y


class MomentumBatchNorm(_BatchNorm):
    """Momentum BatchNorm of [N, C] or [N, C, ...] with the state dict of BatchNorm; `groups` divide the global batch.

    In train mode it works between `begin` and `end` of a step, and gives no gradients.
    """

    def __init__(self, features: int, groups: int = 1, *, eps: float = 1e-5, affine: bool = True):
        super().__init__(features, eps, affine=affine)
        self.groups = groups
        self.a = self.kept = torch.empty(0)  # a [], and (1 - a) M, (1 - a) V + eps [2, C]
        self.seen: list[Tensor] = []  # the `statistics` of each pass in this step

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            mean, var = self.running_mean, self.running_var
            return activate(self, F.batch_norm(input, mean, var, self.weight, self.bias, eps=self.eps))
        with torch.no_grad():
            seen = statistics(input, self.groups // world_size())
            self.seen.append(seen)
            mean, var = torch.addcmul(self.kept.view(2, 1, 1, -1, *[1] * (input.dim() - 2)), seen, self.a)
            return activate(self, normalized(input, mean, var, self.weight, self.bias))


def with_momentum(net: nn.Module, groups: int) -> nn.Module:
    """`net` with every BatchNorm replaced by a MomentumBatchNorm that holds the same parameters and buffers."""
    return replaced(net, lambda old: MomentumBatchNorm(old.num_features, groups, eps=old.eps, affine=old.affine))


@torch.no_grad()
def begin(net: nn.Module, a: float) -> None:
    """Start a step with momentum `a` in every MomentumBatchNorm of `net`; passes of a step that broke off are
    forgotten."""
    if not (norms := _norms(net)):
        return
    running = torch.stack([torch.cat(values) for values in zip(*map(_running, norms), strict=True)])  # [2, sum of C]
    kept, share = running.mul_(1 - a).split([norm.num_features for norm in norms], dim=1), running.new_full((), a)
    torch._foreach_add_([part[1] for part in kept], [norm.eps for norm in norms])  # pyright: ignore
    for norm, part in zip(norms, kept, strict=True):
        norm.a, norm.kept, norm.seen = share, part, []


@torch.no_grad()
def end(net: nn.Module, a: float) -> None:
    """End a step with momentum `a`: every MomentumBatchNorm of `net` moves its running statistics by those of the
    step's passes, which were equally many in each."""
    norms = _norms(net)
    seen = [part.flatten(2) for passed in zip(*(norm.seen for norm in norms), strict=True) for part in passed]
    if not seen:
        return
    joined = torch.cat(seen, dim=2).unflatten(2, (len(seen) // len(norms), -1))  # [2, G, passes, sum of C]
    sizes = [norm.num_features for norm in norms]
    means, variances = (values.split(sizes) for values in averaged(joined.mean((1, 2))))
    running = [values for pair in zip(*map(_running, norms), strict=True) for values in pair]
    torch._foreach_lerp_(running, [*means, *variances], a)  # pyright: ignore


def _norms(net: nn.Module) -> list[MomentumBatchNorm]:
    return [module for module in net.modules() if isinstance(module, MomentumBatchNorm)]


def _running(norm: MomentumBatchNorm) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var
