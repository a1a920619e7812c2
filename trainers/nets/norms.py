"""BatchNorm over all ranks on any device, and the replacement of one kind of BatchNorm by another in a network."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules._functions import SyncBatchNorm as Torchs
from torch.nn.modules.batchnorm import _BatchNorm

from ..ranks import gather, world_size


def averaged(x: Tensor) -> Tensor:
    """The mean of `x` over all ranks, with the same bits on each of them; carries no gradient."""
    if world_size() == 1:
        return x
    x = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(x)
    return x / world_size()


class Average(torch.autograd.Function):
    """`averaged` with a gradient, which is the mean of all ranks' gradients."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return averaged(x)

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return averaged(grad)


class OnGPU(Torchs):
    """The function inside torch's SyncBatchNorm for ranks with equally many values, with its backward.

    Torch's forward leaves out ranks without values by a boolean mask, whose length makes the host wait for the GPU.
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        input: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        running_mean: Tensor,
        running_var: Tensor,
        eps: float,
        momentum: float,
        process_group: dist.ProcessGroup,
        world_size: int,
    ) -> Tensor:
        last = torch.channels_last, torch.channels_last_3d
        if not any(input.is_contiguous(memory_format=layout) for layout in last):
            input = input.contiguous()
        means, invstds = gather(torch.cat(torch.batch_norm_stats(input, eps))[None]).chunk(2, dim=1)  # [W, C] each
        counts = means.new_full((world_size,), input.numel() // input.shape[1])
        mean, invstd = torch.batch_norm_gather_stats_with_counts(
            input, means, invstds, running_mean, running_var, momentum, eps, counts
        )
        ctx.save_for_backward(input, weight, mean, invstd, counts.int())  # as the backward expects them
        ctx.process_group = process_group
        return torch.batch_norm_elemt(input, weight, bias, mean, invstd, eps)


class SyncBatchNorm(_BatchNorm):
    """BatchNorm of [N, C] or [N, C, ...] over the batches of all ranks, which have equal lengths; on any device.

    Torch's module of this name refuses CPU tensors, and DDP refuses that module on CPUs, so a network could not be
    converted before its device is known. Torch's functions for GPUs cannot be compiled; formulas can.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            return activate(self, super().forward(input))
        self.num_batches_tracked.add_(1)  # pyright: ignore
        if input.is_cuda and not torch.compiler.is_compiling():
            running = (self.running_mean, self.running_var)
            group = (dist.group.WORLD, world_size())
            y = OnGPU.apply(input, self.weight, self.bias, *running, self.eps, self.momentum, *group)
        else:
            y, mean, var = joint(input, self.weight, self.bias, self.eps)
            values = world_size() * input.numel() // input.shape[1]
            self.running_mean.lerp_(mean, self.momentum)  # pyright: ignore
            self.running_var.lerp_(var * (values / (values - 1)), self.momentum)  # pyright: ignore
        return activate(self, y)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of dimensions: one class serves [N, C] and [N, C, ...]."""


def joint(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize x [N, C, ...] by the statistics of all ranks' x -> y [N, C, ...], mean [C] and biased variance [C].

    Mean and variance are detached. The mean comes first, then the squares around it: this takes one exchange more than
    sums of squares, and has no cancellation.
    """
    values, dims = at_least_fp32(x), [0, *range(2, x.dim())]
    mean: Tensor = Average.apply(values.mean(dims, keepdim=True))  # [1, C, 1...]  # pyright: ignore
    centered = values - mean
    var: Tensor = Average.apply(centered.square().mean(dims, keepdim=True))  # pyright: ignore
    y = affine(centered * (var + eps).rsqrt(), weight, bias)
    return y.to(x.dtype), mean.detach().flatten(), var.detach().flatten()


def synchronized(net: nn.Module) -> nn.Module:
    """`net` with every BatchNorm replaced by a SyncBatchNorm that holds the same parameters and buffers."""
    return replaced(net, lambda old: SyncBatchNorm(old.num_features, old.eps, old.momentum, old.affine))


def replaced(net: nn.Module, make: Callable[[_BatchNorm], _BatchNorm]) -> nn.Module:
    """`net` with every BatchNorm `norm` replaced by make(norm), which takes over its parameters, buffers and names."""
    if not isinstance(net, _BatchNorm):
        for name, child in net.named_children():
            setattr(net, name, replaced(child, make))
        return net
    new = make(net).to(net.running_mean).train(net.training)
    for name, tensor in (*net.named_parameters(recurse=False), *net.named_buffers(recurse=False)):
        setattr(new, name, tensor)
    for name, child in net.named_children():
        setattr(new, name, child)
    return new


def activate(norm: _BatchNorm, y: Tensor) -> Tensor:
    """Apply the children of `norm` to normalized y: a timm BatchNorm holds its activation as a child."""
    for child in norm.children():
        y = child(y)
    return y


def at_least_fp32(x: Tensor) -> Tensor:
    """`x` in fp32, or as it is in fp64: statistics of bf16 values need more digits than the values have."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def affine(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """y [N, C, ...] times weight [C] plus bias [C]; y itself if they are None."""
    if weight is None or bias is None:
        return y
    shape = (-1, *[1] * (y.dim() - 2))
    return y * weight.view(shape) + bias.view(shape)
