"""LARS gives the numbers recorded from the original program."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from viewstream.trainers.training.lars import LARS, groups_of


def start(g):
    """The recorded parameters before the first step, by name, and their optimizer."""
    names = [*g["adapted_names"], *g["excluded_names"]]
    weights = {name: nn.Parameter(g[f"param0/{name}"].clone()) for name in names}
    groups = [
        {"params": [weights[n] for n in g[f"{kind}_names"]], "adapted": kind == "adapted"}
        for kind in ("adapted", "excluded")
    ]
    options = {"momentum": float(g["momentum"]), "weight_decay": float(g["weight_decay"]), "trust": float(g["eta"])}
    return weights, LARS(groups, 0.0, **options)


@pytest.mark.parametrize("name", ["lars_a", "lars_b"])
@pytest.mark.parametrize("resumed", [False, True])
def test_weights_and_buffers_equal_the_recorded_ones_with_and_without_a_resume(name, resumed, golden):
    """param{i}, buf{i}: after step i; no_grad.weight has no gradient. A resume takes place after the third step."""
    g = golden(name)
    weights, optimizer = start(g)
    for i, lr in enumerate(g["lrs"].tolist()):
        if resumed and i == 3:
            state = optimizer.state_dict()
            weights, optimizer = start({**g, **{f"param0/{k}": v.detach() for k, v in weights.items()}})
            optimizer.load_state_dict(state)
        for key, weight in weights.items():
            weight.grad = g[f"grad{i}/{key}"].clone() if f"grad{i}/{key}" in g else None
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        for key, weight in weights.items():
            torch.testing.assert_close(weight.detach(), g[f"param{i + 1}/{key}"], rtol=0, atol=1e-6)
            buffer = optimizer.state[weight].get("momentum_buffer")
            assert (buffer is None) == (f"buf{i + 1}/{key}" not in g)
            if buffer is not None:
                torch.testing.assert_close(buffer, g[f"buf{i + 1}/{key}"], rtol=1e-5, atol=1e-7)
    assert weights["no_grad.weight"].equal(g["param0/no_grad.weight"])


def test_only_trained_weights_of_convolutions_and_linear_layers_are_adapted():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2), nn.Linear(2, 2))
    net[4].requires_grad_(False)
    adapted, others = groups_of(net)
    names = {id(p): name for name, p in net.named_parameters()}
    assert (adapted["adapted"], others["adapted"]) == (True, False)
    assert [names[id(p)] for p in adapted["params"]] == ["0.weight", "3.weight"]
    assert [names[id(p)] for p in others["params"]] == ["0.bias", "1.weight", "1.bias", "3.bias"]


def test_the_lars_of_simclr_scales_by_the_norm_of_gradient_and_decay_and_leaves_biases_and_norms_alone():
    """Its program: v <- mu v + lr eta |w| / |g + wd w| (g + wd w); biases and norms: v <- mu v + lr g."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double()
    lr, mu, eta, decay = 0.7, 0.9, 1e-3, 1e-2
    optimizer = LARS(groups_of(net, others_decay=False), lr, momentum=mu, weight_decay=decay, trust=eta, joint=True)
    expected = {name: (p.detach().clone(), torch.zeros_like(p)) for name, p in net.named_parameters()}
    for step in range(3):
        for name, p in net.named_parameters():
            p.grad = torch.randn_like(p) if step else torch.zeros_like(p)
            w, v = expected[name]
            u = p.grad + decay * w if name == "0.weight" else p.grad
            ratio = eta * w.norm() / u.norm() if name == "0.weight" else 1.0
            v = mu * v + lr * ratio * u
            expected[name] = (w - v, v)
        optimizer.step()
        for name, p in net.named_parameters():
            torch.testing.assert_close(p.detach(), expected[name][0])


def test_the_lars_of_simclr_takes_the_rate_itself_where_a_norm_is_zero():
    weight = nn.Parameter(torch.zeros(3))
    weight.grad = torch.ones(3)
    LARS([{"params": [weight], "adapted": True}], 0.5, joint=True).step()
    assert weight.tolist() == [-0.5] * 3


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
def test_without_decay_the_first_step_does_not_depend_on_the_norm_of_the_gradient(size, seed):
    w, g = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    steps = []
    for factor in (1.0, size):
        weight = nn.Parameter(w.clone())
        weight.grad = factor * g
        LARS([{"params": [weight], "adapted": True}], 0.5).step()
        steps.append(w - weight.detach())
    torch.testing.assert_close(steps[0], steps[1])
    torch.testing.assert_close(steps[0].norm(), 0.5 * 1e-3 * w.norm())


class Plain(LARS):
    """LARS as torch's GradScaler takes an optimizer that knows no loss scale: it divides and decides on the host."""

    _step_supports_amp_scaling = False


def test_a_scaled_loss_gives_the_steps_of_gradscaler_and_an_overflow_changes_nothing():
    """Four steps, the third with an infinite gradient: only the loss scale changes there."""
    ended = []
    for kind in (LARS, Plain):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 2))
        optimizer = kind(groups_of(net), 0.5, weight_decay=1e-2)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for step in range(4):
            optimizer.zero_grad()
            scaler.scale(net(torch.randn(3, 6)).square().sum()).backward()
            if step == 2:
                net[0].weight.grad[0, 0] = torch.inf
            before = [p.detach().clone() for p in net.parameters()]
            buffers = [state["momentum_buffer"].clone() for state in optimizer.state.values()]
            scaler.step(optimizer)
            scaler.update()
            now = [state["momentum_buffer"] for state in optimizer.state.values()]
            kept = all(map(torch.equal, [*before, *buffers], [*net.parameters(), *now]))
            assert kept == (step == 2)
        ended.append(([p.detach() for p in net.parameters()], now, scaler.get_scale()))
    torch.testing.assert_close(*ended, rtol=1e-6, atol=1e-7)
    assert ended[0][2] == 512.0
