"""Run by torchrun: the batch norms on this rank's part of generated batches; inputs and results saved for the test."""

import sys
from pathlib import Path

import torch
from torch import nn

from viewstream.trainers.methods.momentum_norm import MomentumBatchNorm, batch_momentum
from viewstream.trainers.nets.norms import synchronized
from viewstream.trainers.ranks import process_group, rank

SHAPES = {nn.BatchNorm1d: (8, 5), nn.BatchNorm2d: (8, 5, 3, 2), nn.BatchNorm3d: (8, 5, 2, 3, 2)}


def synchronized_passes(kind, numbers):
    same = torch.Generator().manual_seed(9)  # all ranks begin with the same parameters
    norm = kind(5).double()
    nn.init.normal_(norm.weight, generator=same)
    nn.init.normal_(norm.bias, generator=same)
    norm = synchronized(norm)
    did = {k: [] for k in ("x", "pull", "y", "grad_x", "grad_weight", "grad_bias")}
    did["before"] = {k: v.clone() for k, v in norm.state_dict().items()}
    for _ in range(2):
        x, pull = 3 + torch.randn(2, *SHAPES[kind], dtype=torch.float64, generator=numbers)
        x.requires_grad_()
        norm.zero_grad()
        y = norm(x)
        (y * pull).sum().backward()
        made = (x, pull, y, x.grad, norm.weight.grad, norm.bias.grad)
        for key, value in zip(("x", "pull", "y", "grad_x", "grad_weight", "grad_bias"), made, strict=True):
            did[key].append(value.detach().clone())
    return {**did, "after": norm.state_dict()}


def momentum_passes(numbers):
    norm = MomentumBatchNorm(5, groups=4).double()
    xs = torch.randn(3, 2, 8, 5, 3, 2, dtype=torch.float64, generator=numbers)
    ys = []
    for step, views in enumerate(xs):
        norm.begin(batch_momentum(step, 4))
        ys.append([norm(x).detach() for x in views])
    return {"x": xs, "y": ys, "after": norm.state_dict()}


with process_group("cpu"):
    numbers = torch.Generator().manual_seed(rank())
    done = {kind.__name__: synchronized_passes(kind, numbers) for kind in SHAPES}
    torch.save({**done, "momentum": momentum_passes(numbers)}, Path(sys.argv[1], f"{rank()}.pt"))
