"""LARC gives the numbers recorded from apex."""

import pytest
import torch
from torch import nn

from viewstream.trainers.training.larc import LARC


def start(g, v, at=0):
    """The recorded parameters before step `at`, by name, and their optimizer."""
    weights = {name: nn.Parameter(g[f"{v}/param/{name}"][at].clone()) for name in g["names"]}
    options = {"momentum": float(g[f"{v}/momentum"]), "weight_decay": float(g[f"{v}/weight_decay"])}
    more = {"trust": float(g[f"{v}/trust_coefficient"]), "clip": bool(g[f"{v}/clip"])}
    return weights, LARC(weights.values(), 0.0, **options, **more)


@pytest.mark.parametrize("v", ["v0", "v1", "v2"])
@pytest.mark.parametrize("resumed", [False, True])
def test_weights_and_buffers_equal_the_recorded_ones_with_and_without_a_resume(v, resumed, golden):
    """Biases, norms, a tensor of zeros, one without a gradient; a resume takes place after the second step."""
    g = golden("swav_larc")
    weights, optimizer = start(g, v)
    for i, lr in enumerate(g[f"{v}/lrs"].tolist()):
        if resumed and i == 2:
            state = optimizer.state_dict()
            weights, optimizer = start(g, v, at=2)
            optimizer.load_state_dict(state)
        for name, weight in weights.items():
            weight.grad = g[f"{v}/grad/{name}"][i].double() if f"{v}/grad/{name}" in g else None
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        for name, weight in weights.items():
            torch.testing.assert_close(weight.detach(), g[f"{v}/param/{name}"][i + 1], rtol=0, atol=1e-12)
            buffer = optimizer.state[weight].get("momentum_buffer")
            assert (buffer is None) == (name == "no_grad")
            if buffer is not None:
                torch.testing.assert_close(buffer, g[f"{v}/buf/{name}"][i], rtol=0, atol=1e-12)


def test_an_overflow_of_a_scaled_loss_changes_no_weight_and_no_momentum():
    torch.manual_seed(0)
    net = nn.Linear(6, 5)
    optimizer, scaler = LARC(net.parameters(), 0.5, weight_decay=1e-2), torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step in range(3):
        optimizer.zero_grad()
        scaler.scale(net(torch.randn(3, 6)).square().sum()).backward()
        if step == 1:
            net.weight.grad[0, 0] = torch.inf
        before = [t.clone() for t in (*net.parameters(), *(s["momentum_buffer"] for s in optimizer.state.values()))]
        scaler.step(optimizer)
        scaler.update()
        after = [*net.parameters(), *(state["momentum_buffer"] for state in optimizer.state.values())]
        assert (len(before) == len(after) and all(map(torch.equal, before, after))) == (step == 1)
