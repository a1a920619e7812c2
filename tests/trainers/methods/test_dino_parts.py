"""DINO's head, clipping and schedules equal the numbers recorded from the original program."""

import pytest
import torch
from torch import nn

from viewstream.trainers.methods.dino_parts import clip_, teacher_temperature
from viewstream.trainers.nets.dino_head import Head, Prototypes
from viewstream.trainers.recipes.options import DINO
from viewstream.trainers.schedules import cosine_between


@pytest.mark.parametrize("name", ["tt_default", "tt_300", "tt_50", "tt_w1"])
def test_the_teachers_temperatures_equal_the_recorded_ones(name, golden):
    g = {k.removeprefix(f"{name}/"): v for k, v in golden("dino_schedules").items() if k.startswith(f"{name}/")}
    recipe = DINO(
        epochs=int(g["epochs"]),
        teacher_temperature=float(g["teacher_temp"]),
        teacher_warmup_temperature=float(g["warmup_teacher_temp"]),
        teacher_warmup_epochs=int(g["warmup_teacher_temp_epochs"]),
    )
    ours = [teacher_temperature(recipe, e) for e in range(recipe.epochs)]
    assert ours == pytest.approx(g["value"].tolist(), abs=1e-15)


@pytest.mark.parametrize("name", ["wd_small", "mom_small", "wd_vits_100ep_512", "mom_vits_100ep_512"])
def test_weight_decay_and_momentum_equal_the_recorded_ones(name, golden):
    g = {k.removeprefix(f"{name}/"): v for k, v in golden("dino_schedules").items() if k.startswith(f"{name}/")}
    total = int(g["epochs"] * g["niter_per_ep"])
    ours = [cosine_between(step, total, float(g["base_value"]), float(g["final_value"])) for step in g["iter"].tolist()]
    assert ours == pytest.approx(g["value"].tolist(), abs=1e-14)


@pytest.mark.parametrize("case", range(4))
def test_the_head_equals_the_recorded_one(case, golden):
    """x [N, width] -> y [N, K]; gradients of the sum of u y."""
    g = {k.removeprefix(f"c{case}/"): v for k, v in golden("dino_head").items() if k.startswith(f"c{case}/")}
    state = {k.removeprefix("state/"): v for k, v in g.items() if k.startswith("state/")}
    outputs, dim = state["last_layer.weight_v"].shape
    shape = {"layers": int(g["nlayers"]), "norm": bool(g["use_bn"]), "fixed": bool(g["norm_last_layer"])}
    first = next(iter(state.values()))
    head = Head(g["x"].shape[1], outputs, hidden=len(first), dim=dim, **shape).double()
    assert {k for k, _ in head.named_parameters()} == set(g["param_names"])
    assert {k for k, p in head.named_parameters() if p.requires_grad} == {
        k for k, trained in zip(g["param_names"], g["trainable"].tolist(), strict=True) if trained
    }
    torch.testing.assert_close(head.last_layer.weight_g.detach(), g["weight_g_at_construction"])
    head.load_state_dict(state, strict=False)  # but for the counters of BatchNorm
    x = g["x"].double().requires_grad_()
    y = head(x)
    torch.testing.assert_close(y, g["y"], rtol=0, atol=1e-12)
    (g["u"].double() * y).sum().backward()
    torch.testing.assert_close(x.grad, g["grad_x"], rtol=0, atol=1e-12)
    grads = {f"grad/{k}": p.grad for k, p in head.named_parameters() if p.requires_grad}
    torch.testing.assert_close(grads, {k: v for k, v in g.items() if k.startswith("grad/")}, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", [0, 1])
@pytest.mark.parametrize("scale", [None, 1024.0])
def test_gradients_are_clipped_one_by_one_as_recorded(case, scale, golden):
    g = {k.removeprefix(f"c{case}/"): v for k, v in golden("dino_clip_groups").items() if k.startswith(f"c{case}/")}
    parameters, factor = [], scale or 1.0
    for name in g["names"]:
        parameters.append(nn.Parameter(torch.zeros_like(g[f"grad/{name}"], dtype=torch.float64)))
        parameters[-1].grad = factor * g[f"grad/{name}"].double()
    clip_([*parameters, nn.Parameter(torch.zeros(2))], float(g["clip"]), scale and torch.tensor(scale))
    for name, p in zip(g["names"], parameters, strict=True):
        torch.testing.assert_close(p.grad / factor, g[f"clipped/{name}"], rtol=0, atol=1e-12)


def test_prototypes_keep_their_lengths_only_if_they_are_fixed():
    for fixed in (True, False):
        layer = Prototypes(4, 3, fixed=fixed)
        assert layer.weight_g.requires_grad == (not fixed)
        torch.testing.assert_close(layer(torch.eye(4)).norm(dim=0), torch.ones(3))
