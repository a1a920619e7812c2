"""BatchNorm over all ranks on GPUs: no value is waited for, and the numbers are those of the function for CPUs."""

import pytest
import torch
from torch import nn

from viewstream.trainers.nets.norms import OnGPU, SyncBatchNorm, joint, synchronized
from viewstream.trainers.ranks import rank

from ...fake_gpu import Crossings, ranks, without_memory
from . import sync_ops

SHAPES = [(8, 5), (8, 5, 3, 2), (8, 5, 2, 3, 2)]


@pytest.fixture
def two_ranks():
    """This process as rank 0 of two."""
    with ranks(2):
        yield


@pytest.fixture
def norm(two_ranks, request):
    """A SyncBatchNorm on a GPU that is not there, for two ranks."""
    made = SyncBatchNorm(5)
    request.getfixturevalue("fake_gpu")  # parameters are made outside of it
    with torch.library._scoped_library("aten", "IMPL") as library:
        sync_ops.on_fake_gpus(library)
        yield without_memory(made, "cuda")


@pytest.mark.parametrize("shape", SHAPES)
def test_no_norm_waits_for_the_gpu(norm, shape):
    x = torch.empty(shape, dtype=torch.bfloat16, device="cuda")
    with Crossings() as crossings:
        y = norm(x)
    assert not crossings.seen
    assert (y.shape, y.dtype, y.device.type) == (x.shape, torch.bfloat16, "cuda")


def test_channels_last_stays(norm):
    x = torch.empty(8, 5, 3, 2, device="cuda").to(memory_format=torch.channels_last)
    assert norm(x).is_contiguous(memory_format=torch.channels_last)


def passed(function, shape, affine):
    """y, its gradients, and running statistics after one pass of `function` on this rank's batch."""
    generator = torch.Generator().manual_seed(9)
    x = 3 + torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(rank()))
    weight, bias = (torch.randn(5, dtype=torch.float64, generator=generator).requires_grad_() for _ in range(2))
    weight, bias = (weight, bias) if affine else (None, None)
    running = torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    y = function(x.requires_grad_(), weight, bias, *running)
    (y * x.detach().cos()).sum().backward()
    return [y.detach(), x.grad, *([weight.grad, bias.grad] if affine else []), *running]


def for_cpus(x, weight, bias, mean, var):
    y, seen, biased = joint(x, weight, bias, 1e-5)
    values = 2 * x.numel() // x.shape[1]
    mean.lerp_(seen, 0.1)
    var.lerp_(biased * (values / (values - 1)), 0.1)
    return y


def for_gpus(*arguments):
    return OnGPU.apply(*arguments, 1e-5, 0.1, torch.distributed.group.WORLD, 2)


def both():
    for formula in sync_ops.FORMULAS:
        setattr(torch, formula.__name__, formula)
    cases = [(shape, affine) for shape in SHAPES for affine in (True, False)]
    return [(passed(for_cpus, *case), passed(for_gpus, *case)) for case in cases]


def test_two_ranks_get_the_numbers_of_the_function_for_cpus(on_ranks):
    """torch's operations are replaced by their formulas: this holds the order of what is gathered, kept and added."""
    for pairs in on_ranks(both, 2):
        for ours, expected in pairs:
            torch.testing.assert_close(expected, ours, rtol=0, atol=1e-10)


def test_a_compiled_network_has_the_same_numbers_and_one_graph(two_ranks):
    """Ranks are pretended: an exchange leaves each value as it is."""
    torch.manual_seed(0)
    net = synchronized(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)))
    x, state = torch.randn(4, 3, 6, 6), {k: v.clone() for k, v in net.state_dict().items()}
    eager = net(x)
    after = {k: v.clone() for k, v in net.state_dict().items()}
    net.load_state_dict(state)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)(x)
    torch.testing.assert_close(compiled, eager)
    torch.testing.assert_close(dict(net.state_dict()), after)
    compiled.sum().backward()
    assert all(p.grad is not None for p in net.parameters())
