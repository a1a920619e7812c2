"""Run by torchrun: KIND and a folder; five steps on this rank's part of generated batches, losses and state saved."""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from viewstream.pipeline.batch import Batch
from viewstream.trainers.methods import byol, m2t, sts
from viewstream.trainers.methods.method import Now
from viewstream.trainers.nets.encoder import Encoder
from viewstream.trainers.ranks import process_group, rank, world_size
from viewstream.trainers.training import optim
from viewstream.trainers.training.loop import _NO_BUFFERS

STEPS, N = 5, 16


def method_of(kind):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    nets = Encoder(body, byol.projector(6, 8, 4)), byol.predictor(4, 8)
    if kind == "m2t":
        return m2t.M2T(*nets, bn_groups=4)
    return sts.STS(*nets, preserve=0.5) if kind == "sts" else byol.BYOL(*nets)


kind, out = sys.argv[1:]
with process_group("cpu"):
    method = method_of(kind).double()
    net = DistributedDataParallel(method, **_NO_BUFFERS) if world_size() > 1 else method
    optimizer, losses = optim.sgd(method, 0.05, 0.9, 1e-4), []
    numbers, share = (
        torch.Generator().manual_seed(1),
        slice(rank() * N // world_size(), (rank() + 1) * N // world_size()),
    )
    for step in range(STEPS):
        x1, x2 = torch.rand(2, N, 3, 6, 6, dtype=torch.float64, generator=numbers)[:, share]
        now = Now(step, STEPS, 0)
        method.before_step(now)
        nothing = torch.zeros(len(x1), dtype=torch.long)
        loss, _ = net(Batch((x1, x2), nothing, nothing), now)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step(now)
        losses.append(loss.detach())
    state = {"loss": torch.stack(losses), "state": method.state_dict()}
    torch.save(state, Path(out, f"{world_size()}-{rank()}.pt"))
