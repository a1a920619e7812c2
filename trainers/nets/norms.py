"""BatchNorm over all ranks on any device, and how one kind of BatchNorm takes another's place in a network."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules._functions import SyncBatchNorm as OnGPU
from torch.nn.modules.batchnorm import _BatchNorm

from ..ranks import world_size


def averaged(x: Tensor) -> Tensor:
    """The mean over ranks of [...], the same bits on all of them; carries no gradient."""
    if world_size() == 1:
        return x
    x = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(x)
    return x / world_size()


class Average(torch.autograd.Function):
    """`averaged` with a gradient: the mean of what all the ranks' losses ask for."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return averaged(x)

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return averaged(grad)


class SyncBatchNorm(_BatchNorm):
    """BatchNorm over the batches of all ranks, which are equally long; [N, C] or [N, C, ...], on any device.

    On GPUs the function beneath torch's module of this name. The module itself refuses CPUs, and DDP refuses it there,
    so that a network could not be converted before its device is known.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or world_size() == 1:
            return rest(self, super().forward(input))
        self.num_batches_tracked.add_(1)  # pyright: ignore
        if input.is_cuda:
            y = OnGPU.apply(
                input, self.weight, self.bias, self.running_mean, self.running_var, self.eps, self.momentum,
                dist.group.WORLD, world_size(),
            )  # fmt: skip
        else:
            y, mean, var = joint(input, self.weight, self.bias, self.eps)
            values = world_size() * input.numel() // input.shape[1]
            self.running_mean.lerp_(mean, self.momentum)  # pyright: ignore
            self.running_var.lerp_(var * (values / (values - 1)), self.momentum)  # pyright: ignore
        return rest(self, y)

    def _check_input_dim(self, input: Tensor) -> None:
        """One class for all numbers of dimensions."""


def joint(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """x [N, C, ...] by the statistics of all ranks' x -> normalized, mean [C] and biased variance [C], these detached.

    The mean first, then squares around it: one exchange more than sums of squares would take, and no cancellation.
    """
    values, dims = wide(x), [0, *range(2, x.dim())]
    mean: Tensor = Average.apply(values.mean(dims, keepdim=True))  # [1, C, 1...]  # pyright: ignore
    centred = values - mean
    var: Tensor = Average.apply(centred.square().mean(dims, keepdim=True))  # pyright: ignore
    y = affine(centred * (var + eps).rsqrt(), weight, bias)
    return y.to(x.dtype), mean.detach().flatten(), var.detach().flatten()


def synchronised(net: nn.Module) -> nn.Module:
    """`net` with a SyncBatchNorm in place of every BatchNorm, around the same parameters and buffers."""
    return replaced(net, lambda old: SyncBatchNorm(old.num_features, old.eps, old.momentum, old.affine))


def replaced(net: nn.Module, make: Callable[[_BatchNorm], _BatchNorm]) -> nn.Module:
    """`net` with make(norm) in place of every BatchNorm `norm`; parameters, buffers and their names stay."""
    if not isinstance(net, _BatchNorm):
        for name, child in net.named_children():
            setattr(net, name, replaced(child, make))
        return net
    twin = make(net).to(net.running_mean).train(net.training)
    for name, tensor in (*net.named_parameters(recurse=False), *net.named_buffers(recurse=False)):
        setattr(twin, name, tensor)
    for name, child in net.named_children():
        setattr(twin, name, child)
    return twin


def rest(norm: _BatchNorm, y: Tensor) -> Tensor:
    """What a BatchNorm of timm's does after normalizing: it keeps its activation as a child."""
    for child in norm.children():
        y = child(y)
    return y


def wide(x: Tensor) -> Tensor:
    """At least fp32: statistics of bf16 values need more digits than the values have."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def affine(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """y [N, C, ...] weight [C] + bias [C], where there are such."""
    if weight is None or bias is None:
        return y
    shape = (-1, *[1] * (y.dim() - 2))
    return y * weight.view(shape) + bias.view(shape)
