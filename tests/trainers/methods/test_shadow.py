"""A frozen network with cast weights computes what autocast computes, follows its weights, and is in no state dict."""

from functools import partial

import pytest
import torch
from torch import nn

from viewstream.shards.cli import parse
from viewstream.trainers.methods import byol
from viewstream.trainers.methods.build import build
from viewstream.trainers.methods.byol import BYOL
from viewstream.trainers.methods.m2t import M2T
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.shadow import Shadow
from viewstream.trainers.nets.encoder import Encoder
from viewstream.trainers.nets.heads import mlp_with_norm
from viewstream.trainers.recipes import recipe_named
from viewstream.trainers.training import optim
from viewstream.trainers.training.compiling import compile_encoders

from ...fake_gpu import Counted
from ..small_runs import COMMON_WORDS, WORDS
from .steps import batch_of, convnet

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")


class Block(nn.Module):
    """What a copy has to care for: a layer held twice, layers without bias, a subclass, a weight made of others."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        self.between = nn.Sequential(nn.Conv2d(4, 4, 1), self.act, nn.Conv2d(4, 4, 1), self.act)
        self.again = self.between[0]
        self.missing = None
        self.register_module("none", None)
        self.made = nn.utils.weight_norm(nn.Linear(4, 4))
        self.parametrized = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
        self.scale = nn.Parameter(torch.randn(4))

    def forward(self, x):
        x = self.again(self.between(self.act(self.norm(self.conv(x)))))
        x = self.parametrized(self.made(x.mean((2, 3)))) * self.scale
        return x + 1 if self.training else x


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Block().requires_grad_(False)


X = torch.rand(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def cast(run):
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        return run()(X)


def test_the_copy_computes_the_same_and_moves_the_same_running_statistics(net):
    shadow = Shadow(net)
    start = {k: v.clone() for k, v in net.state_dict().items()}
    ours, after = cast(shadow.network), {k: v.clone() for k, v in net.state_dict().items()}
    net.load_state_dict(start)
    assert ours.equal(cast(lambda: net))
    assert all(v.equal(after[k]) for k, v in net.state_dict().items())
    assert not after["norm.running_mean"].equal(start["norm.running_mean"])


def test_the_copy_is_used_within_autocast_alone(net):
    shadow = Shadow(net)
    assert shadow.network() is net
    with torch.autocast("cpu", torch.bfloat16):
        copied = shadow.network()
        assert copied is shadow.network() is not net
        assert {copied.conv.weight.dtype, copied.again.bias.dtype} == {torch.bfloat16}
        assert copied.again is copied.between[0]
        assert copied.norm is net.norm
        assert copied.made.weight_v.dtype == copied.scale.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in net.parameters())


@pytest.mark.parametrize("change", ["lerp", "load", "mode"])
def test_the_copy_follows_what_changes(net, change):
    shadow = Shadow(net)
    before = cast(shadow.network)
    if change == "load":
        net.load_state_dict({k: v + 1 for k, v in net.state_dict().items()})
    elif change == "lerp":
        weights = [net.conv.weight, net.between[2].bias]
        torch._foreach_lerp_(weights, [w + 1 for w in weights], 0.5)
    else:
        net.eval()
    after = cast(shadow.network)
    assert after.equal(cast(lambda: net))
    assert not after.equal(before)


def test_a_pass_casts_no_weights(net):
    shadow = Shadow(net)
    cast(shadow.network)
    counts = []
    for run in (lambda: net, shadow.network):
        with Counted() as counted:
            cast(run)
        counts.append(counted.launches["_to_copy"])
    assert (
        counts[0] - counts[1] == 7
    )  # conv: a weight; between: weight and bias of a layer that runs twice and of one that runs once


def steps(words, name, shadowed, monkeypatch):
    """The losses of four steps in bf16, and the state after them."""
    monkeypatch.setattr(Shadow, "network", _network if shadowed else lambda self: self.net)
    (recipe,) = parse(recipe_named("", name), argv=COMMON_WORDS + words, description="")
    method, losses = build(recipe, 4).train(), []
    optimizer, generator = optim.optimizer_of(method, recipe), torch.Generator().manual_seed(1)
    for step in range(4):
        now = Now(step, 4, 0)
        torch.manual_seed(step)
        batch = batch_of(*torch.rand(1 if name == "seed" else 2, 16, 3, 32, 32, generator=generator))
        method.before_step(now)
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = method(batch, now)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step(now)
        losses.append(loss.detach())
    return torch.stack(losses), method.state_dict()


_network = Shadow.network


@pytest.mark.parametrize("name", ["moco", "kcl", "byol", "sts", "m2t", "seed"])
def test_a_run_in_bf16_has_the_same_losses_and_weights_to_the_bit(name, monkeypatch):
    losses, state = steps(WORDS[name], name, True, monkeypatch)
    expected, theirs = steps(WORDS[name], name, False, monkeypatch)
    assert losses.equal(expected)
    assert len({loss.item() for loss in losses}) == 4
    assert not any("shadow" in key for key in state)
    assert all(v.equal(theirs[k]) for k, v in state.items())


def test_a_compiled_network_runs_compiled_with_cast_weights(net, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda run, **options: asked.append(options) or run)
    net.compile(dynamic=False)
    shadow = Shadow(net)
    with torch.autocast("cpu", torch.bfloat16):
        assert shadow.network()._compiled_call_impl is not None
    assert asked == [{"dynamic": False}] * 2


@pytest.mark.parametrize(("kind", "options"), [(BYOL, {}), (M2T, {"bn_groups": 1})])
def test_two_compiled_steps_in_bf16_follow_the_eager_ones(kind, options, monkeypatch):
    """One graph a network, also where a teacher's layers note the statistics of their passes."""
    compiler = partial(torch.compile, backend="aot_eager", fullgraph=True)
    monkeypatch.setattr(torch, "compile", lambda run, **_: compiler(run))

    def run(compiled):
        torch.manual_seed(0)
        method = kind(Encoder(convnet(), mlp_with_norm(6, 8, 4)), byol.predictor(4, 8), momentum=0.5, **options)
        if compiled:
            compile_encoders(method)
        losses = []
        for step in range(2):
            now = Now(step, 2, 0)
            method.before_step(now)
            with torch.autocast("cpu", torch.bfloat16):
                loss, _ = method(batch_of(X, X.flip(3)), now)
            loss.backward()
            method.after_step(now)
            losses.append(loss.detach())
        return torch.stack(losses), {k: v for k, v in method.state_dict().items() if k.startswith("target")}

    for ours, eager in zip(run(True), run(False), strict=True):
        torch.testing.assert_close(ours, eager, rtol=0.02, atol=0.02)
