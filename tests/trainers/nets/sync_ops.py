"""The operations of SyncBatchNorm that torch has for GPUs alone: by plain formulas, and as shapes."""

import torch


def of(x, values):
    """`values` [C] beside x [N, C, ...]."""
    return values.view(-1, *[1] * (x.dim() - 2))


def dims(x):
    return [0, *range(2, x.dim())]


def batch_norm_stats(x, eps):
    var, mean = torch.var_mean(x, dims(x), correction=0)
    return mean, (var + eps).rsqrt()


def batch_norm_gather_stats_with_counts(x, means, invstds, running_mean, running_var, momentum, eps, counts):
    assert counts.dtype == running_mean.dtype, "torch's function reads the counts as running statistics"
    share = (counts / counts.sum())[:, None]
    mean = (share * means).sum(0)
    var = (share * (invstds**-2 - eps + (means - mean).square())).sum(0)
    running_mean.lerp_(mean, momentum)
    running_var.lerp_(var * (counts.sum() / (counts.sum() - 1)), momentum)
    return mean, (var + eps).rsqrt()


def batch_norm_elemt(x, weight, bias, mean, invstd, eps):
    y = (x - of(x, mean)) * of(x, invstd)
    return y if weight is None else y * of(x, weight) + of(x, bias)


def batch_norm_backward_reduce(grad, x, mean, invstd, weight, *_):
    sum_dy = grad.sum(dims(x))
    sum_dy_xmu = (grad * (x - of(x, mean))).sum(dims(x))
    return sum_dy, sum_dy_xmu, sum_dy_xmu * invstd, sum_dy


def batch_norm_backward_elemt(grad, x, mean, invstd, weight, sum_dy, sum_dy_xmu, count):
    values, scale = count.sum(), invstd if weight is None else invstd * weight
    centered = (x - of(x, mean)) * of(x, invstd.square() * sum_dy_xmu)
    return (grad - (of(x, sum_dy) + centered) / values) * of(x, scale)


FORMULAS = (
    batch_norm_stats,
    batch_norm_gather_stats_with_counts,
    batch_norm_elemt,
    batch_norm_backward_reduce,
    batch_norm_backward_elemt,
)
# Those of the forward, as shapes on any device: statistics have fp32.
SHAPES = {
    "batch_norm_stats": lambda x, eps: (x.new_empty(x.shape[1], dtype=torch.float32),) * 2,
    "batch_norm_gather_stats_with_counts": lambda x, means, *_: (means.new_empty(means.shape[1]),) * 2,
    "batch_norm_elemt": lambda x, *_: torch.empty_like(x),
}


def on_fake_gpus(library):
    """Give torch's operations shapes within `library`, of "aten" and "IMPL", so that tensors without memory pass."""
    for name, shape in SHAPES.items():
        library.impl(name, shape, "Meta")
