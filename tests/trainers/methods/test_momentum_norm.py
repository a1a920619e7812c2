"""Momentum BatchNorm equals the numbers recorded from the original program, and two ranks equal one."""

import pytest
import torch
from torch import nn

from viewstream.trainers.methods import momentum_norm
from viewstream.trainers.methods.momentum_norm import (
    MomentumBatchNorm,
    batch_momentum,
    begin,
    end,
    normalized,
    statistics,
    with_momentum,
)
from viewstream.trainers.ranks import rank

from ...fake_gpu import Counted

FILES = ("mbn_a_1d", "mbn_a_2d", "mbn_c_noaffine_1d", "mbn_c_noaffine_2d")


def close(ours, theirs, atol=1e-5):
    torch.testing.assert_close(ours.detach(), theirs, rtol=0, atol=atol)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", FILES)
def test_momentum_batchnorm_equals_the_recorded_passes(name, golden):
    """x{t} -> y{t}, momentum and running statistics after each of 3 steps of 2 passes.

    A seventh pass was recorded in eval mode, which the release ignores; here it is one in train mode.
    """
    g = golden(name)
    norm = MomentumBatchNorm(g["x0"].shape[1], affine="weight" in g, eps=float(g["eps"]))
    norm.load_state_dict({k: v for k, v in g.items() if k in ("weight", "bias")}, strict=False)
    for t in range(6):
        if t % 2 == 0:
            a = batch_momentum(t // 2, int(g["total_iters"]))
            assert a == pytest.approx(float(g[f"momentum_before{t}"]), abs=1e-12)
            begin(norm, a)
        close(norm(g[f"x{t}"]), g[f"y{t}"])
        if t % 2:
            end(norm, a)
        close(norm.running_mean, g[f"running_mean{t}"])
        close(norm.running_var, g[f"running_var{t}"])
    a = batch_momentum(3, int(g["total_iters"]))
    assert a == pytest.approx(float(g["momentum_after5"]), abs=1e-12)
    begin(norm, a)
    close(norm(g["x_eval"]), g["y_eval"])
    close(norm.running_mean, g["running_mean_after_eval"])
    close(norm.running_var, g["running_var_after_eval"])
    assert int(norm.num_batches_tracked) == int(g["num_batches_tracked"]) == 0


@pytest.mark.parametrize("name", FILES)
def test_a_recorded_pair_of_passes_follows_from_the_formulas_alone(name, golden):
    g = golden(name)
    running, a = torch.stack([g["running_mean1"], g["running_var1"]]), float(g["momentum_before2"])
    first, second = (statistics(g[f"x{t}"], 1).view(2, -1) for t in (2, 3))

    def mixed(seen):
        return a * seen + (1 - a) * running

    for t, seen in ((2, first), (3, second)):
        mean, var = mixed(seen).view(2, 1, 1, -1, *[1] * (g[f"x{t}"].dim() - 2))
        y = normalized(g[f"x{t}"], mean, var + float(g["eps"]), g.get("weight"), g.get("bias"))
        close(y, g[f"y{t}"])
    close(mixed((first + second) / 2), torch.stack([g["running_mean3"], g["running_var3"]]))


def test_groups_take_their_own_statistics_and_share_the_mean_as_running_statistics():
    x, z = normal(2, 8, 5, 3, 3)
    whole, parts = MomentumBatchNorm(5, groups=4).double(), [MomentumBatchNorm(5).double() for _ in range(4)]
    for norm in (whole, *parts):
        begin(norm, 0.7)
    for view in (x, z):
        split = torch.cat([norm(part) for norm, part in zip(parts, view.chunk(4), strict=True)])
        close(whole(view), split, 1e-12)
    for norm in (whole, *parts):
        end(norm, 0.7)
    close(whole.running_mean, torch.stack([norm.running_mean for norm in parts]).mean(0), 1e-12)
    close(whole.running_var, torch.stack([norm.running_var for norm in parts]).mean(0), 1e-12)


def test_a_step_broken_off_between_its_passes_leaves_no_trace():
    x, z, lost = normal(3, 8, 5)
    one, two = MomentumBatchNorm(5).double(), MomentumBatchNorm(5).double()
    begin(one, 0.9)
    one(lost)
    for norm in (one, two):
        begin(norm, 0.8)
        norm(x)
        norm(z)
        end(norm, 0.8)
    assert one.running_mean.equal(two.running_mean)
    assert not one.running_mean.equal(torch.zeros(5))


def three_steps():
    """Three steps of two passes on this rank's batches: inputs and outputs [3, 2, 8, 5, 3, 2] and the state."""
    norm = MomentumBatchNorm(5, groups=4).double()
    inputs, outputs = normal(3, 2, 8, 5, 3, 2, seed=rank()), []
    for step, views in enumerate(inputs):
        begin(norm, batch_momentum(step, 4))
        outputs.append(torch.stack([norm(x) for x in views]))
        end(norm, batch_momentum(step, 4))
    return inputs, torch.stack(outputs), norm.state_dict()


@pytest.mark.full
def test_two_ranks_with_momentum_batchnorm_are_one_with_as_many_groups(on_ranks):
    (x1, y1, first), (x2, y2, second) = on_ranks(three_steps, 2)
    inputs, outputs = (torch.cat(halves, dim=2) for halves in ((x1, x2), (y1, y2)))
    alone = MomentumBatchNorm(5, groups=4).double()
    for step in range(3):
        begin(alone, batch_momentum(step, 4))
        for view in range(2):
            close(outputs[step, view], alone(inputs[step, view]), 1e-10)
        end(alone, batch_momentum(step, 4))
    for key, value in alone.state_dict().items():
        torch.testing.assert_close(first[key], value, rtol=0, atol=1e-10)
        assert first[key].equal(second[key])


def test_statistics_of_bf16_are_summed_in_fp32():
    """Their error is that of the rounded values alone."""
    x = (normal(16, 5, 4, 4) + 20).bfloat16()
    seen = statistics(x, 2)
    assert seen.dtype == torch.float32
    close(seen.double(), statistics(x.double(), 2), 1e-5)
    norm = MomentumBatchNorm(5, groups=2)
    begin(norm, 0.9)
    y = norm(x.contiguous(memory_format=torch.channels_last))
    begin(norm, 0.9)
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)
    close(y.float(), norm(x.float()), 0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_compiled_teacher_is_the_eager_one_to_rounding(dtype):
    torch.manual_seed(0)
    net = with_momentum(nn.Sequential(nn.BatchNorm2d(5), nn.ReLU(), nn.BatchNorm2d(5)), 2).to(torch.float32)
    x = normal(2, 8, 5, 3, 3, dtype=torch.float32).to(dtype)

    def step(run):
        net.load_state_dict(start)
        begin(net, 0.7)
        y = torch.stack([run(view) for view in x])
        end(net, 0.7)
        return y, {k: v.clone() for k, v in net.state_dict().items()}

    start = {k: v.clone() for k, v in net.state_dict().items()}
    for ours, theirs in zip(step(torch.compile(net, backend="aot_eager", fullgraph=True)), step(net), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_layer_launches_seven_operations_and_a_step_exchanges_once(monkeypatch):
    exchanged = []
    monkeypatch.setattr(momentum_norm, "averaged", lambda x: exchanged.append(x) or x)
    net = with_momentum(nn.Sequential(*[nn.BatchNorm2d(5) for _ in range(20)]), 4)
    x = normal(16, 5, 3, 3, dtype=torch.float32)
    with Counted() as around:
        begin(net, 0.7)
    with Counted() as inside:
        net(net(x))
    with Counted() as after:
        end(net, 0.7)
    assert inside.total == 2 * 20 * 7
    assert around.total + after.total <= 12
    assert [x.shape for x in exchanged] == [(2, 100)]
