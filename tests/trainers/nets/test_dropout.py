"""Dropout by hashes: the same on any ranks, other in each pass and step, repeated by a resume."""

import pytest
import torch
from timm.layers import DropPath
from torch import nn
from torchvision.ops import StochasticDepth

from viewstream.augment.renderers.compiler import missing
from viewstream.trainers.methods.build import build
from viewstream.trainers.methods.parts import shuffle_bn
from viewstream.trainers.nets.dropout import KeyedDropout, begin_step, keyed
from viewstream.trainers.nets.encoder import backbone
from viewstream.trainers.nets.grouped_norm import grouped
from viewstream.trainers.ranks import gather
from viewstream.trainers.recipes.options import BYOL, MoCo

from ..methods.steps import share


def dropped():
    """Outputs of networks with dropout for the global batch, of a few passes in turn."""
    net, x = keyed(nn.Sequential(nn.Dropout(0.5))), torch.ones(16, 32)[share(16)]
    begin_step(net, 0, 7)
    passes = [net(x), net(x), shuffle_bn(net, x, torch.arange(16).flip(0))]
    begin_step(net, 0, 8)
    passes.append(net(x))
    torch.manual_seed(0)
    mobile = keyed(grouped(backbone("mobilenetv3_small")[0], 4)).train()
    begin_step(mobile, 0, 7)
    images = torch.linspace(0, 1, 16 * 3 * 32 * 32).view(16, 3, 32, 32)[share(16)]
    return [gather(y.detach()) for y in (*passes, mobile(images))]


def test_two_ranks_drop_what_one_drops_and_each_pass_and_step_drops_others(on_ranks):
    one, (two, _) = dropped(), on_ranks(dropped, 2)
    for alone, both in zip(one, two, strict=True):
        torch.testing.assert_close(both, alone, rtol=0, atol=1e-5)
    for several in (one[0], one[:4]):  # rows of a pass, and passes
        assert len({tuple(mask.flatten().tolist()) for mask in several}) == len(several)


def test_the_same_step_of_a_resumed_run_drops_the_same():
    nets = [keyed(nn.Sequential(nn.Dropout(0.5))) for _ in range(2)]
    nets[0](torch.ones(4, 8))  # steps before the stop
    for net in nets:
        begin_step(net, 3, 5)
    assert nets[0](torch.ones(4, 8)).equal(nets[1](torch.ones(4, 8)))
    begin_step(nets[0], 4, 5)
    begin_step(nets[1], 3, 5)
    assert not nets[0](torch.ones(4, 8)).equal(nets[1](torch.ones(4, 8)))


@pytest.mark.parametrize(
    ("module", "share", "scale"),
    [
        (nn.Dropout(0.2), 0.2, 1 / 0.8),
        (StochasticDepth(0.3, "row"), 0.3, 1 / 0.7),
        (DropPath(0.3), 0.3, 1 / 0.7),
        (DropPath(0.3, scale_by_keep=False), 0.3, 1.0),
    ],
)
def test_a_share_is_dropped_and_the_others_are_scaled_in_value_and_gradient(module, share, scale):
    net = keyed(nn.Sequential(module)).train()
    begin_step(net, 0, 0)
    x = torch.ones(2000, 3, 4, requires_grad=True)
    y = net(x)
    (y * 2).sum().backward()
    assert set(y.detach().unique().tolist()) == {0.0, torch.tensor(scale).item()}
    assert x.grad.equal(2 * y.detach())
    zero = (y == 0).flatten(1).float()
    assert zero.mean() == pytest.approx(share, abs=0.03)
    assert (zero.mean(1) == zero[:, 0]).all() == (not isinstance(module, nn.Dropout))  # whole rows
    assert net.eval()(x) is x


def test_networks_keep_their_keys_and_every_dropout_of_theirs_is_replaced():
    for arch, count in (("mobilenetv3_small", 1), ("efficientnet_b0", 16), ("convnext_tiny", 17)):
        with torch.device("meta"):
            net = backbone(arch)[0]
        names = list(net.state_dict())
        keyed(net)
        assert list(net.state_dict()) == names
        assert sum(isinstance(m, KeyedDropout) for m in net.modules()) == count
        assert not [
            m for m in net.modules() if type(m) in (nn.Dropout, DropPath, StochasticDepth) and getattr(m, "p", 1)
        ]


def test_the_dropouts_of_a_method_have_places_of_their_own():
    for recipe in (MoCo(arch="test_resnet", head="dropout", queue=16), BYOL(arch="mobilenetv3_small")):
        method = build(recipe)
        begin_step(method, 0, 0)
        keys = [int(m.key) for m in method.modules() if isinstance(m, KeyedDropout)]
        assert len(keys) == len(set(keys)) == 2
        assert not any("key" in name.split(".") for name in method.state_dict())


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.full)])
def test_it_compiles_in_one_graph_and_drops_the_same(backend):
    if missing(torch.device("cpu")):
        pytest.skip("no compiler")
    results = []
    for compiled in (False, True):
        net = keyed(nn.Sequential(nn.Dropout(0.5), nn.Flatten(), StochasticDepth(0.5, "row"))).train()
        if compiled:
            net.compile(backend=backend, fullgraph=True)
        for step in range(3):
            begin_step(net, 0, step)
            results.append(torch.stack([net(torch.ones(8, 3, 2)) for _ in range(2)]))
    assert torch.stack(results[:3]).equal(torch.stack(results[3:]))
