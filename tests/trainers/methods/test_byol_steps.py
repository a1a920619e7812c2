"""Whole training steps of Spatial Ensemble and Momentum^2 Teacher equal those recorded from the original programs."""

import numpy as np
import pytest
import torch
from torch import nn

from viewstream.trainers.methods import byol
from viewstream.trainers.methods.m2t import M2T
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.sts import STS, ensemble_
from viewstream.trainers.nets.encoder import Encoder
from viewstream.trainers.nets.heads import mlp_with_norm
from viewstream.trainers.training import optim

from .steps import batch_of, convnet


class Recorded(nn.Module):
    """The recorded encoder, under its own names; fc.4 to fc.7 are the student's predictor."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.fc = mlp_with_norm(6, 8, 4)

    def forward(self, x):
        return self.fc(self.bn1(self.conv1(x)).relu().mean((2, 3)))


def student_of(method):
    """The student's state under the recorded names."""
    state = {k.removeprefix("module."): v for k, v in method.online.state_dict().items()}
    for k, v in method.predictor.state_dict().items():
        number, rest = k.split(".", 1)
        state[f"fc.{int(number) + 4}.{rest}"] = v
    return state


def stages(g, name):
    return {k.split("/", 1)[1]: v for k, v in g.items() if k.startswith(f"{name}/")}


@pytest.mark.parametrize("kind", ["sts", "m2t"])
def test_four_training_steps_equal_the_recorded_ones(kind, golden):
    """Recorded: full states before and after each step, its loss and rate; the second step's gradients as grad1."""
    g = golden(f"byol_steps_{kind}")
    nets, base = (Recorded(), byol.predictor(4, 8)), float(g["base_momentum"])
    method = M2T(*nets, momentum=base, bn_groups=1) if kind == "m2t" else STS(*nets, momentum=base)
    method.double()
    start = {k: v.clone() for k, v in stages(g, "student0").items()}
    for key, value in student_of(method).items():
        value.copy_(start[key])
    method.target.load_state_dict(stages(g, "teacher0"))
    optimizer = optim.sgd(method, 0.0, float(g["sgd_momentum"]), float(g["weight_decay"]))
    assert [n for n, _ in method.target.named_parameters()] == g["teacher_names"]
    for t in range(4):
        now = Now(t, int(g["total_iters"]), 0)
        assert byol.momentum(*now[:2], base) == pytest.approx(float(g["ema_momentum"][t]), abs=1e-12)
        if kind == "m2t":
            method.before_step(now)
        else:  # by the recorded coins
            assert (g["u"][t] >= float(g["preserving_prob"])).equal(g["update_mask"][t])
            targets, onlines = list(method.target.parameters()), list(method.online.parameters())
            ensemble_(targets, onlines, float(g["ema_momentum"][t]), list(g["update_mask"][t]))
        loss, _ = method(batch_of(g[f"view1_{t}"], g[f"view2_{t}"]), now)
        optimizer.param_groups[0]["lr"] = float(g["lrs"][t])
        optimizer.zero_grad()
        loss.backward()
        if t == 1:
            check_gradients(method, stages(g, "grad1"))
        optimizer.step()
        method.after_step(now)
        torch.testing.assert_close(loss.detach(), g["loss"][t], rtol=0, atol=1e-9)
        for ours, name in ((student_of(method), "student"), (method.target.state_dict(), "teacher")):
            torch.testing.assert_close(ours, stages(g, f"{name}{t + 1}"), rtol=0, atol=1e-9)


def check_gradients(method, expected):
    grads = {k: p.grad for k, p in method.online.named_parameters()}
    for k, p in method.predictor.named_parameters():
        number, rest = k.split(".", 1)
        grads[f"fc.{int(number) + 4}.{rest}"] = p.grad
    torch.testing.assert_close(grads, expected, rtol=0, atol=1e-9)


def small():
    torch.manual_seed(0)
    return Encoder(convnet(), mlp_with_norm(6, 8, 4))


def test_two_groups_on_one_device_compute_what_two_ranks_do():
    """Each half of the batch has the loss of a method that sees this half alone."""
    x = torch.rand(2, 8, 3, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def loss(groups, part):
        torch.manual_seed(2)
        method = M2T(small(), byol.predictor(4, 8), bn_groups=groups).double()
        method.before_step(Now(2, 10, 0))
        return method(batch_of(x[0, part], x[1, part]), Now(2, 10, 0))[0].item()

    halves = [loss(1, slice(0, 4)), loss(1, slice(4, 8))]
    assert loss(2, slice(0, 8)) == pytest.approx(np.mean(halves), abs=1e-12)
    assert loss(1, slice(0, 8)) != pytest.approx(np.mean(halves), abs=1e-6)
