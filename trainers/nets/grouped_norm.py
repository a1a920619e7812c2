"""BatchNorm with statistics by group: a network runs on a whole batch as if each group were the share of one GPU.

Groups are neighbors in the global batch, counted over all ranks. Running statistics move once per pass, towards those
of the first group, whatever the number of ranks: the releases keep those of their first GPU.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ..ranks import world_size
from .norms import activate, affine, at_least_fp32, replaced

_NORMALIZE = torch.ops.aten.native_batch_norm.out
_GRADIENTS = torch.ops.aten.native_batch_norm_backward.default


class ByGroup(torch.autograd.Function):
    """Normalizes each of `count` parts of x [N, C, ...] with torch's own kernel: its bits, in one result of x's layout.

    Lengths of parts differ by one row at most. The first part moves the `running` mean and variance.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running: tuple[Tensor, Tensor],
        count: int,
        momentum: float,
        eps: float,
    ) -> Tensor:
        y, parts = torch.empty_like(x), x.tensor_split(count)
        seen = running[0].new_empty(len(parts), 2, x.shape[1])  # mean and 1 / standard deviation of each part
        spare = torch.empty_like(seen[0])  # takes what the other parts would move
        for number, (part, out, own) in enumerate(zip(parts, y.tensor_split(count), seen, strict=True)):
            moved = spare if number else running
            _NORMALIZE(part, weight, bias, *moved, True, momentum, eps, out=out, save_mean=own[0], save_invstd=own[1])
        ctx.save_for_backward(x, weight, seen)
        ctx.count, ctx.eps = count, eps
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight, seen = ctx.saved_tensors
        of_x, of_affine = ctx.needs_input_grad[0], any(ctx.needs_input_grad[1:3])
        wanted, (pulls, parts) = [of_x, of_affine, of_affine], (t.tensor_split(ctx.count) for t in (grad, x))
        grads = [
            _GRADIENTS(dy, part, weight, *own, *own, True, ctx.eps, wanted)
            for dy, part, own in zip(pulls, parts, seen, strict=True)
        ]
        dx, dw, db = zip(*grads, strict=True)
        sums = torch.stack(dw + db).unflatten(0, (2, -1)).sum(1) if of_affine else (None, None)
        return torch.cat(dx) if of_x else None, *sums, None, None, None, None


def written_out(x: Tensor, weight: Tensor | None, bias: Tensor | None, count: int, eps: float) -> tuple[Tensor, Tensor]:
    """What `ByGroup` computes, as a formula that torch.compile fuses: y, and the first group's statistics [2, C].

    These, the mean and the unbiased variance, carry no gradient.
    """
    if len(x) % count:  # parts of unequal length
        parts = [written_out(part, weight, bias, 1, eps) for part in x.tensor_split(count)]
        return torch.cat([y for y, _ in parts]), parts[0][1]
    values = at_least_fp32(x).unflatten(0, (count, -1))  # [G, N / G, C, ...]
    var, mean = torch.var_mean(values, dim=[1, *range(3, values.dim())], correction=0, keepdim=True)
    y = affine(((values - mean) * (var + eps).rsqrt()).flatten(0, 1), weight, bias)
    size = x.numel() // x.shape[1] // count  # values per channel and group
    return y.to(x.dtype), torch.stack([mean[0], var[0] * (size / (size - 1))]).detach().view(2, -1)


class GroupedBatchNorm(_BatchNorm):
    """BatchNorm of [N, C] or [N, C, ...] with statistics in `groups` groups of the global batch; same state dict.

    A rank takes its share of the groups, fewer if one would have a single row. `grouped` counts the batches.
    """

    def __init__(
        self, features: int, groups: int, *, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True
    ):
        super().__init__(features, eps, momentum, affine)
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return activate(self, self.normalized(input))

    def normalized(self, x: Tensor) -> Tensor:
        """`forward` without the activation that a timm BatchNorm holds."""
        weight, bias, mean, var = self.weight, self.bias, self.running_mean, self.running_var
        assert mean is not None
        assert var is not None
        assert self.momentum is not None  # of no network here: torch then takes the mean of all batches
        count = max(1, min(self.groups // world_size(), len(x) // 2)) if self.training else 1
        if count == 1:
            return F.batch_norm(x, mean, var, weight, bias, self.training, self.momentum, self.eps)
        if not torch.compiler.is_compiling():
            return ByGroup.apply(x, weight, bias, (mean, var), count, self.momentum, self.eps)  # pyright: ignore
        y, seen = written_out(x, weight, bias, count, self.eps)
        mean.lerp_(seen[0], self.momentum)
        var.lerp_(seen[1], self.momentum)
        return y


def grouped(net: nn.Module, groups: int) -> nn.Module:
    """`net`, which is called as a whole, with every BatchNorm inside replaced by a GroupedBatchNorm that holds the same
    parameters and buffers."""

    def make(old: _BatchNorm) -> _BatchNorm:
        return GroupedBatchNorm(old.num_features, groups, eps=old.eps, momentum=old.momentum, affine=old.affine)

    net = replaced(net, make)
    net.register_forward_pre_hook(_count_batch)
    return net


@torch.no_grad()
def _count_batch(net: nn.Module, inputs: Any) -> None:
    """Count a batch in all norms of a network at once: a launch each would be a fifth of the launches of a pass."""
    norms = [m for m in net.modules() if isinstance(m, GroupedBatchNorm) and m.training]
    counts = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
    if counts:
        torch._foreach_add_(counts, 1)  # pyright: ignore[reportPrivateImportUsage]
