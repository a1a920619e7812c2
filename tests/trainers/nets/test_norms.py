"""BatchNorm over all ranks is BatchNorm of the joined batch; converted networks keep their weights and outputs."""

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from viewstream.trainers.methods.momentum_norm import begin, end, with_momentum
from viewstream.trainers.nets.grouped_norm import grouped
from viewstream.trainers.nets.norms import SyncBatchNorm, synchronized
from viewstream.trainers.ranks import rank

SHAPES = {nn.BatchNorm1d: (8, 5), nn.BatchNorm2d: (8, 5, 3, 2), nn.BatchNorm3d: (8, 5, 2, 3, 2)}


def close(ours, theirs, atol=1e-5):
    torch.testing.assert_close(ours.detach(), theirs, rtol=0, atol=atol)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


CONVERSIONS = {
    "sync": synchronized,
    "momentum": lambda net: with_momentum(net, 2),
    "grouped": lambda net: grouped(net, 2),
}


@pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)
def test_a_converted_network_keeps_its_tensors_and_evaluates_like_the_plain_one(convert):
    def network():
        norms = nn.Sequential(nn.BatchNorm2d(5)), BatchNormAct2d(5), nn.BatchNorm2d(5)
        return nn.Sequential(nn.Conv2d(3, 5, 1), *norms).requires_grad_(False)

    plain, other = network(), convert(network())
    before = dict(other.named_parameters())
    begin(other, 0.9)
    x = normal(8, 3, 4, 4, dtype=torch.float32)
    for _ in range(2):
        other(x)
    end(other, 0.9)
    assert not any(type(m) in (nn.BatchNorm2d, BatchNormAct2d) for m in other.modules())
    assert list(other.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in other.named_parameters()] == [name for name, _ in plain.named_parameters()]
    assert all(p is before[name] for name, p in other.named_parameters())
    plain.load_state_dict(other.state_dict())
    close(other.eval()(x), plain.eval()(x), 0.0)
    assert not plain[1][0].running_mean.equal(torch.zeros(5))


@pytest.mark.parametrize("kind", SHAPES)
def test_on_one_rank_synchronized_batchnorm_is_batchnorm(kind):
    plain, ours = kind(5), synchronized(kind(5))
    assert isinstance(ours, SyncBatchNorm)
    for seed in range(2):
        x = normal(*SHAPES[kind], seed=seed, dtype=torch.float32)
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        ours(a).square().sum().backward()
        plain(b).square().sum().backward()
        assert a.grad.equal(b.grad)
    assert all(v.equal(plain.state_dict()[k]) for k, v in ours.state_dict().items())


def two_passes(kind):
    """Two passes on this rank's half of generated batches: inputs, results, gradients, and the states around them."""
    norm = kind(5).double()
    nn.init.normal_(norm.weight, generator=(same := torch.Generator().manual_seed(9)))  # on both ranks
    nn.init.normal_(norm.bias, generator=same)
    norm = synchronized(norm)
    result = {k: [] for k in ("x", "pull", "y", "grad_x", "grad_weight", "grad_bias")}
    result["before"] = {k: v.clone() for k, v in norm.state_dict().items()}
    for x, pull in 3 + normal(2, 2, *SHAPES[kind], seed=rank()):
        x.requires_grad_()
        norm.zero_grad()
        y = norm(x)
        (y * pull).sum().backward()
        tensors = (x, pull, y, x.grad, norm.weight.grad, norm.bias.grad)
        for key, value in zip(("x", "pull", "y", "grad_x", "grad_weight", "grad_bias"), tensors, strict=True):
            result[key].append(value.detach().clone())
    return {**result, "after": norm.state_dict()}


def two_passes_of_each():
    return {kind: two_passes(kind) for kind in SHAPES}


@pytest.fixture(scope="module")
def halves(on_ranks):
    """What each of two ranks computed on its half of the batches, for each kind of BatchNorm."""
    return on_ranks(two_passes_of_each, 2)


@pytest.mark.full
@pytest.mark.parametrize("kind", SHAPES)
def test_two_ranks_with_synchronized_batchnorm_are_one_with_the_joined_batch(halves, kind):
    ranks = [half[kind] for half in halves]
    plain = kind(5).double()
    plain.load_state_dict(ranks[0]["before"])
    for step in range(2):
        x = torch.cat([r["x"][step] for r in ranks]).requires_grad_()
        plain.zero_grad()
        y = plain(x)
        (y * torch.cat([r["pull"][step] for r in ranks])).sum().backward()
        close(torch.cat([r["y"][step] for r in ranks]), y.detach(), 1e-10)
        close(torch.cat([r["grad_x"][step] for r in ranks]), x.grad, 1e-10)
        close(sum(r["grad_weight"][step] for r in ranks), plain.weight.grad, 1e-10)
        close(sum(r["grad_bias"][step] for r in ranks), plain.bias.grad, 1e-10)
    for key, value in plain.state_dict().items():
        for r in ranks:
            torch.testing.assert_close(r["after"][key], value, rtol=0, atol=1e-10)
        assert ranks[0]["after"][key].equal(ranks[1]["after"][key])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: torch's own SyncBatchNorm runs nowhere else")
def test_our_functions_for_cpus_and_gpus_equal_that_of_torch(tmp_path):
    """One process with one GPU is a group in which all of them run."""
    from torch.nn.modules._functions import SyncBatchNorm as Torchs

    from viewstream.trainers.nets.norms import OnGPU, joint

    torch.distributed.init_process_group("nccl", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    try:
        x = normal(8, 5, 6, 6, dtype=torch.float32).cuda()
        weight, bias = (normal(5, seed=s, dtype=torch.float32).cuda().requires_grad_() for s in (1, 2))
        ours = x.clone().requires_grad_()
        a, mean, var = joint(ours, weight, bias, 1e-5)
        (a * x.cos()).sum().backward()
        for function in (OnGPU, Torchs):
            theirs = x.clone().requires_grad_()
            running = [torch.zeros(5, device="cuda"), torch.ones(5, device="cuda")]
            b = function.apply(theirs, weight, bias, *running, 1e-5, 1.0, torch.distributed.group.WORLD, 1)
            (b * x.cos()).sum().backward()
            close(a, b.detach())
            close(ours.grad, theirs.grad)
            close(mean, running[0])
            close(var * (288 / 287), running[1])
    finally:
        torch.distributed.destroy_process_group()
