"""Optimisers and learning-rate schedules; schedules are pure functions of the epoch."""

import math

import torch
from torch import nn


def sgd(method: nn.Module, lr: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """SGD on everything that takes gradients, BatchNorm and biases included, as MoCo's release does."""
    trained = [p for p in method.parameters() if p.requires_grad]
    return torch.optim.SGD(trained, lr, momentum=momentum, weight_decay=weight_decay)


def cosine(lr: float, epoch: int, epochs: int) -> float:
    """From `lr` down; constant within an epoch, not yet zero in the last one (spec: BalFeat 2)."""
    return lr * (1 + math.cos(math.pi * epoch / epochs)) / 2


def step(lr: float, epoch: int, milestones: tuple[int, ...]) -> float:
    """A tenth at each milestone passed."""
    return lr * 0.1 ** sum(epoch >= m for m in milestones)
