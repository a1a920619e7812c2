"""Momentum BatchNorm equals the numbers recorded from the original program, and two ranks equal one."""

import pytest
import torch

from viewstream.trainers.methods.momentum_norm import MomentumBatchNorm, batch_momentum, mixed, moved
from viewstream.trainers.ranks import rank

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
            norm.begin(a)
        close(norm(g[f"x{t}"]), g[f"y{t}"])
        close(norm.running_mean, g[f"running_mean{t}"])
        close(norm.running_var, g[f"running_var{t}"])
    a = batch_momentum(3, int(g["total_iters"]))
    assert a == pytest.approx(float(g["momentum_after5"]), abs=1e-12)
    norm.begin(a)
    close(norm(g["x_eval"]), g["y_eval"])
    close(norm.running_mean, g["running_mean_after_eval"])
    close(norm.running_var, g["running_var_after_eval"])
    assert int(norm.num_batches_tracked) == int(g["num_batches_tracked"]) == 0


@pytest.mark.parametrize("name", FILES)
def test_a_recorded_pair_of_passes_follows_from_the_formulas_alone(name, golden):
    g = golden(name)
    mean, var, a = g["running_mean1"], g["running_var1"], float(g["momentum_before2"])
    affine = (g.get("weight"), g.get("bias"))
    (y2, first), (y3, second) = (mixed(g[f"x{t}"], mean, var, a, *affine) for t in (2, 3))
    n = g["x2"].numel() // g["x2"].shape[1]
    mean, var = moved(mean, var, (first + second) / 2, a, n / (n - 1))
    for ours, key in ((y2, "y2"), (y3, "y3"), (mean, "running_mean3"), (var, "running_var3")):
        close(ours, g[key])


def test_groups_take_their_own_statistics_and_share_the_mean_as_running_statistics():
    x, z = normal(2, 8, 5, 3, 3)
    whole, parts = MomentumBatchNorm(5, groups=4).double(), [MomentumBatchNorm(5).double() for _ in range(4)]
    for norm in (whole, *parts):
        norm.begin(0.7)
    for view in (x, z):
        split = torch.cat([norm(part) for norm, part in zip(parts, view.chunk(4), strict=True)])
        close(whole(view), split, 1e-12)
    close(whole.running_mean, torch.stack([norm.running_mean for norm in parts]).mean(0), 1e-12)
    close(whole.running_var, torch.stack([norm.running_var for norm in parts]).mean(0), 1e-12)


def test_a_step_broken_off_between_its_passes_leaves_no_trace():
    x, z, lost = normal(3, 8, 5)
    one, two = MomentumBatchNorm(5).double(), MomentumBatchNorm(5).double()
    one.begin(0.9)
    one(lost)
    for norm in (one, two):
        norm.begin(0.8)
        norm(x)
        norm(z)
    assert one.running_mean.equal(two.running_mean)
    assert not one.running_mean.equal(torch.zeros(5))


def three_steps():
    """Three steps of two passes on this rank's batches: inputs and outputs [3, 2, 8, 5, 3, 2] and the state."""
    norm = MomentumBatchNorm(5, groups=4).double()
    inputs, outputs = normal(3, 2, 8, 5, 3, 2, seed=rank()), []
    for step, views in enumerate(inputs):
        norm.begin(batch_momentum(step, 4))
        outputs.append(torch.stack([norm(x).detach() for x in views]))
    return inputs, torch.stack(outputs), norm.state_dict()


@pytest.mark.full
def test_two_ranks_with_momentum_batchnorm_are_one_with_as_many_groups(on_ranks):
    (x1, y1, first), (x2, y2, second) = on_ranks(three_steps, 2)
    inputs, outputs = (torch.cat(halves, dim=2) for halves in ((x1, x2), (y1, y2)))
    alone = MomentumBatchNorm(5, groups=4).double()
    for step in range(3):
        alone.begin(batch_momentum(step, 4))
        for view in range(2):
            close(outputs[step, view], alone(inputs[step, view]).detach(), 1e-10)
    for key, value in alone.state_dict().items():
        torch.testing.assert_close(first[key], value, rtol=0, atol=1e-10)
        assert first[key].equal(second[key])
