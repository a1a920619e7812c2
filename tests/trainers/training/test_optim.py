"""Optimizers on a GPU: one kernel a step that the host does not wait for, and checkpoints that change devices."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from viewstream.trainers.training.optim import optimizer_of

from ...fake_gpu import Crossings
from ..small_runs import SMALL

NAMES = ["sgd", "lars", "lars-simclr", "larc", "adamw"]


def network(device="cpu"):
    torch.manual_seed(0)
    with torch.device(device):
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))


def stepped(net, name, steps=2, state=None):
    """The optimizer after `steps` steps with gradients of ones, begun from `state`."""
    optimizer = optimizer_of(net, replace(SMALL, optimizer=name))
    if state:
        optimizer.load_state_dict(state)
    for _ in range(steps):
        for p in net.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()
    return optimizer


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scaled", [False, True])
def test_a_step_on_a_gpu_never_waits(name, scaled, fake_gpu, monkeypatch):
    net = network("cuda")
    optimizer = optimizer_of(net, replace(SMALL, optimizer=name))
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    scaler = torch.amp.GradScaler("cuda", enabled=scaled)
    scaler.scale(torch.empty((), device="cuda"))  # the first call makes the scale
    if name == "sgd":  # torch computes no shapes for this kernel
        monkeypatch.setattr(torch, "_fused_sgd_", lambda *_, grad_scale, found_inf, **__: given.append(grad_scale))
    given = []
    for _ in range(2):
        for p in net.parameters():
            p.grad = torch.empty_like(p)
        with Crossings() as crossings:
            scaler.step(optimizer)
            scaler.update()
        assert not crossings.seen
    assert [scale is not None for scale in given] == [scaled] * 2 * (name == "sgd")


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_on_a_gpu_takes_the_loss_scale_itself(name, fake_gpu):
    net = network("cuda")
    assert optimizer_of(net, replace(SMALL, optimizer=name))._step_supports_amp_scaling


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_an_overflow_in_the_first_step_leaves_no_trace(name, monkeypatch):
    """The fused kernels of a CPU, with memory that holds NaN, as the first steps with loss scaling overflow."""
    monkeypatch.setattr("viewstream.trainers.training.optim._fused", lambda weights: True)
    monkeypatch.setattr(torch, "empty_like", lambda x: torch.full_like(x, torch.nan))
    after = []
    for begin in ([torch.inf], []):
        net, scaler = network(), torch.amp.GradScaler("cpu", init_scale=2048.0 if begin else 1024.0)
        optimizer = optimizer_of(net, replace(SMALL, optimizer=name))
        for factor in (*begin, 1.0, 1.0):
            optimizer.zero_grad()
            scaler.scale(factor * net(torch.ones(2, 3, 6, 6)).square().sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        after.append([p.detach() for p in net.parameters()])
    assert all(map(torch.equal, *after))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_checkpoint_of_a_gpu_continues_on_a_cpu_as_one_of_a_cpu(name):
    nets = [network() for _ in range(2)]
    saved = copy.deepcopy(stepped(nets[0], name).state_dict())
    nets[1].load_state_dict(nets[0].state_dict())
    of_a_gpu = saved | {"param_groups": [group | {"fused": True} for group in saved["param_groups"]]}
    resumed = [
        stepped(net, name, state=copy.deepcopy(state)) for net, state in zip(nets, (saved, of_a_gpu), strict=True)
    ]
    assert [group["fused"] for optimizer in resumed for group in optimizer.param_groups] == [None, None]
    assert all(map(torch.equal, *(net.parameters() for net in nets)))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_checkpoint_of_a_cpu_keeps_the_kernels_of_a_gpu(name, fake_gpu):
    saved = optimizer_of(network(), replace(SMALL, optimizer=name)).state_dict()
    optimizer = optimizer_of(network("cuda"), replace(SMALL, optimizer=name))
    optimizer.load_state_dict(saved)
    assert [group["fused"] for group in optimizer.param_groups] == [True]
