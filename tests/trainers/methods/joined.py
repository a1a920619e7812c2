"""Run by torchrun or alone: steps of KCL and SEED on one global batch, of which each rank takes its part.

argv: a folder, for NAME-WORLD.pt with the losses and the state after the last step.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from viewstream.pipeline.batch import Batch
from viewstream.trainers.methods.kcl import KCL
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.seed import SEED
from viewstream.trainers.nets.encoder import Encoder
from viewstream.trainers.ranks import gather, process_group, rank, world_size
from viewstream.trainers.training import optim

N, STEPS = 16, 5


def net() -> Encoder:
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Encoder(body, nn.Linear(8, 8)).double()


def kcl(**how) -> KCL:
    return KCL(net(), batch=N, dim=8, queue=64, momentum=0.9, temperature=0.2, bn_groups=4, posk=3, **how)


def seed(**how) -> SEED:
    return SEED(net(), net(), dim=8, queue=64, teacher_temperature=0.05, bn_groups=4, **how)


def batch(step: int, sizes: tuple[int, ...]) -> Batch:
    """This rank's part of the global batch."""
    rng, here = np.random.default_rng(100 + step), slice(rank() * N // world_size(), (rank() + 1) * N // world_size())
    views = [torch.from_numpy(rng.normal(rng.normal(size=(N, 3, 1, 1)), 1, (N, 3, s, s)))[here] for s in sizes]
    target = torch.from_numpy(rng.integers(0, 3, N))[here]
    return Batch(tuple(views), target, target)


METHODS = {
    "kcl": (kcl, {}, (8, 8)),
    "kcl-v2-first": (kcl, {"losstype": "v2", "pick": "first"}, (8, 8)),
    "kcl-sump": (kcl, {"sump": True, "tgt_avg": True}, (8, 8)),
    "seed": (seed, {}, (8,)),
    "seed-patches": (seed, {"patches": True}, (8, 6, 6, 6)),
}

with process_group("cpu"):
    for name, (make, how, sizes) in METHODS.items():
        torch.manual_seed(0)
        method = make(**how).double().train()
        net_ = DistributedDataParallel(method, broadcast_buffers=False) if world_size() > 1 else method
        optimizer = optim.sgd(method, 0.2, 0.9, 1e-4)
        for number in range(getattr(method, "prefill", 0)):
            method.fill(batch(-number, sizes), Now(number - 4, STEPS, 7))
        losses = []
        for step in range(STEPS):
            now = Now(step, STEPS, 7)
            method.before_step(now)
            loss, stats = net_(batch(step + 1, sizes), now)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            method.after_step(now)
            losses.append(gather(torch.stack([loss.detach(), *(s.double() for s in stats.values())])[None]).mean(0))
        if not rank():
            state = {k: v for k, v in method.state_dict().items() if "running_" not in k and "tracked" not in k}
            torch.save({"losses": torch.stack(losses), **state}, Path(sys.argv[1], f"{name}-{world_size()}.pt"))
