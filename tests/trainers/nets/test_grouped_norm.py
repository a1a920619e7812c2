"""BatchNorm by group is BatchNorm of each group; running statistics follow one rule on any number of ranks."""

import copy

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from viewstream.augment.renderers.compiler import missing
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.moco import MoCo
from viewstream.trainers.nets.encoder import Encoder
from viewstream.trainers.nets.grouped_norm import ByGroup, grouped, written_out

from ..methods.steps import batch_of, convnet, distributed, share

FORMS = {
    "rows": ((12, 5), torch.float32, {}),
    "images": ((12, 5, 4, 3), torch.float32, {}),
    "images-bf16": ((12, 5, 4, 3), torch.bfloat16, {}),
    "images-bf16-without-weights": ((12, 5, 4, 3), torch.bfloat16, {"affine": False}),
    "unequal-groups": ((11, 5, 4, 3), torch.float32, {}),
    "fp64": ((12, 5, 4, 3), torch.float64, {}),
}


def normal(*shape, seed=0, dtype=torch.float32):
    x = 3 + torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def norm_of(channels, dtype, options):
    norm = nn.BatchNorm2d if dtype else nn.BatchNorm1d
    norm = norm(channels, **options).to(torch.float64 if dtype == torch.float64 else torch.float32)
    for number, p in enumerate(norm.parameters()):
        p.data = normal(channels, seed=number + 7, dtype=p.dtype)
    return norm


def pulled(x, net, pull):
    """Result and gradients of a network on x, for a loss of the result times `pull`."""
    x = x.clone().requires_grad_()
    y = net(x)
    (y * pull).sum().backward()
    return y.detach(), x.grad, [p.grad for p in net.parameters()]


@pytest.mark.parametrize("form", FORMS)
def test_it_is_batchnorm_of_each_group_to_the_bit(form):
    shape, dtype, options = FORMS[form]
    x, pull = normal(*shape, dtype=dtype), normal(*shape, seed=1, dtype=dtype)
    plain = norm_of(5, dtype if len(shape) == 4 else None, options)
    net = grouped(nn.Sequential(copy.deepcopy(plain)), 3)
    y, grad, grads = pulled(x, net, pull)
    seen = [pulled(a, copy.deepcopy(plain), b) for a, b in zip(x.chunk(3), pull.chunk(3), strict=True)]
    assert y.equal(torch.cat([part[0] for part in seen]))
    assert grad.equal(torch.cat([part[1] for part in seen]))
    assert y.stride() == grad.stride() == x.stride()
    for ours, *theirs in zip(grads, *(part[2] for part in seen), strict=True):
        torch.testing.assert_close(ours, sum(theirs))
    plain(x.chunk(3)[0])  # the first group alone moves the running statistics
    for ours, theirs in zip(net[0].buffers(), plain.buffers(), strict=True):
        assert ours.equal(theirs)


@pytest.mark.parametrize("form", FORMS)
def test_the_formula_that_compiles_is_the_same_to_rounding(form):
    shape, dtype, options = FORMS[form]
    x, pull = normal(*shape, dtype=dtype), normal(*shape, seed=1, dtype=dtype)
    net = grouped(nn.Sequential(norm_of(5, dtype if len(shape) == 4 else None, options)), 3)
    norm = copy.deepcopy(net[0])

    class Formula(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = norm

        def forward(self, x):
            y, self.seen = written_out(x, norm.weight, norm.bias, 3, norm.eps)
            return y

    formula = Formula()
    y, grad, grads = pulled(x, net, pull)
    y2, grad2, grads2 = pulled(x, formula, pull)
    bound = {"rtol": 0, "atol": {torch.bfloat16: 0.04, torch.float32: 1e-4, torch.float64: 1e-12}[dtype]}
    torch.testing.assert_close(y2, y, **bound)
    torch.testing.assert_close(grad2, grad, **bound)
    torch.testing.assert_close(grads2, grads, rtol=1e-4, atol=1e-4)
    assert y2.stride() == grad2.stride() == x.stride()
    assert formula.seen.dtype == norm.running_mean.dtype
    mean, var = net[0].running_mean, net[0].running_var
    torch.testing.assert_close(torch.stack([mean / 0.1, (var - 0.9) / 0.1]), formula.seen, rtol=1e-4, atol=1e-4)


def test_no_group_has_a_single_row():
    """Two groups of three of seven rows would leave one."""
    x = normal(7, 5)
    net = grouped(nn.Sequential(nn.BatchNorm1d(5)), 8)
    parts = [x[:3], x[3:5], x[5:]]
    assert net(x).equal(torch.cat([nn.BatchNorm1d(5)(part) for part in parts]))
    y, _ = written_out(x, *net.parameters(), 3, 1e-5)
    torch.testing.assert_close(y, net(x))


def two_steps(net):
    """Results, gradients and buffers of two passes of a network."""
    results = [pulled(normal(8, 3, 6, 6, seed=step), net, 1.0) for step in range(2)]
    return results, dict(net.named_buffers())


def network():
    torch.manual_seed(0)
    norms = nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 1), BatchNormAct2d(4)
    return grouped(nn.Sequential(nn.Conv2d(3, 4, 3), *norms, nn.Flatten(), nn.Linear(64, 2)), 4).train()


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.full)])
def test_a_compiled_network_computes_the_same_in_one_graph(backend):
    if missing(torch.device("cpu")):
        pytest.skip("no compiler")
    eager, net = network(), network()
    net.compile(backend=backend, fullgraph=True)
    torch.testing.assert_close(two_steps(net), two_steps(eager), rtol=1e-4, atol=1e-5)
    assert int(net[1].num_batches_tracked) == 2


def test_what_is_written_in_place_after_the_norm_changes_no_gradient():
    ours, plain = network(), network()
    plain[2].inplace = plain[4].act.inplace = False
    torch.testing.assert_close(two_steps(ours), two_steps(plain), rtol=0, atol=0)


def test_in_evaluation_mode_and_with_one_group_it_is_plain_batchnorm():
    x, plain = normal(8, 5, 3, 3), nn.Sequential(nn.BatchNorm2d(5))
    one = grouped(copy.deepcopy(plain), 1)
    assert one(x).equal(plain(x))
    assert one.eval()(x).equal(plain.eval()(x))
    assert all(value.equal(plain.state_dict()[name]) for name, value in one.state_dict().items())


def test_gradients_are_those_of_finite_differences_and_come_where_they_are_asked_for():
    x, weight, bias = (normal(*shape, dtype=torch.float64).requires_grad_() for shape in ((6, 3), (3,), (3,)))
    running = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *inputs: ByGroup.apply(*inputs, running, 2, 0.1, 1e-5), (x, weight, bias))
    net = grouped(nn.Sequential(nn.BatchNorm1d(3)), 2).double()
    net.requires_grad_(False)(x).square().sum().backward()
    assert x.grad.any()
    net.requires_grad_(True)(x.detach()).square().sum().backward()
    assert all(p.grad.any() for p in net.parameters())


def trained():
    """Both encoders of MoCo after three steps on this rank's share, as rank 0 would save them, and what they embed."""
    torch.manual_seed(0)
    method = MoCo(Encoder(convnet(), nn.Linear(6, 4)), dim=4, queue=16, momentum=0.9, bn_groups=4).double().train()
    module, optimizer = distributed(method), torch.optim.SGD(method.online.parameters(), 0.1)
    for step in range(3):
        now = Now(step, 3, 0)
        method.before_step(now)
        optimizer.zero_grad()
        views = (normal(16, 3, 6, 6, seed=10 * step + view, dtype=torch.float64)[share(16)] for view in range(2))
        module(batch_of(*views), now)[0].backward()
        optimizer.step()
        method.after_step(now)
    x = normal(4, 3, 6, 6, seed=99, dtype=torch.float64)
    return method.state_dict(), [net.eval()(x).detach() for net in (method.online, method.target)]


@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.full)])
def test_running_statistics_do_not_depend_on_the_number_of_ranks(on_ranks, ranks):
    one, many = trained(), on_ranks(trained, ranks)[0]
    assert int(one[0]["online.backbone.1.num_batches_tracked"]) == 3  # one a pass
    torch.testing.assert_close(many, one, rtol=0, atol=1e-9)
