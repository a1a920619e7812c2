"""Heads have the specified layers and train as recorded."""

import pytest
import torch
from torch import nn

from viewstream.shards.errors import UserError
from viewstream.trainers.methods.method import Now
from viewstream.trainers.methods.moco import MoCo
from viewstream.trainers.methods.parts import Queue
from viewstream.trainers.nets.encoder import Encoder, encoder
from viewstream.trainers.nets.heads import HEADS, head
from viewstream.trainers.training import optim

from .steps import batch_of


@pytest.mark.parametrize(
    ("name", "kind"), [("moco_small_wide_t01", "wide"), ("moco_small_deep_t01", "deep"), ("moco_small_ksim_mlp", "mlp")]
)
def test_steps_with_each_head_equal_the_recorded_ones(name, kind, golden):
    """Body: Linear(10, 6), BatchNorm, ReLU. state{t}: everything after t steps. ksim{t}: keys . queue."""
    g = golden(name)
    body = nn.Sequential(nn.Linear(10, 6), nn.BatchNorm1d(6), nn.ReLU())
    options = {"momentum": float(g["momentum"]), "temperature": float(g["temperature"])}
    moco = MoCo(Encoder(body, head(kind, 6, 8)), dim=8, queue=32, bn_groups=1, **options)

    def recorded(step, prefix):
        start = f"state{step}/{prefix}."
        state = {k.removeprefix(start): v for k, v in g.items() if k.startswith(start)}
        return {k.replace("body.", "backbone.", 1).replace("fc.", "head.", 1): v for k, v in state.items()}

    for prefix, ours in (("encoder_q", moco.online), ("encoder_k", moco.target)):
        ours.load_state_dict(recorded(0, prefix))
    moco.queue = Queue(g["state0/queue"].T.clone())
    moco.queue.head.fill_(int(g["state0/queue_ptr"]))
    optimizer = optim.sgd(moco, float(g["lr"]), 0.9, 1e-4)
    for step in range(3):
        now = Now(step, 3, 0)
        moco.before_step(now)
        loss, _ = moco(batch_of(g[f"im_q{step}"], g[f"im_k{step}"]), now)
        torch.testing.assert_close(loss.detach().double(), g["loss"][step], rtol=0, atol=1e-5)
        if "ksim0" in g:
            torch.testing.assert_close(moco.keys @ moco.queue.rows.T, g[f"ksim{step}"], rtol=0, atol=1e-5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        moco.after_step(now)
        for prefix, ours in (("encoder_q", moco.online), ("encoder_k", moco.target)):
            for k, value in recorded(step + 1, prefix).items():
                torch.testing.assert_close(ours.state_dict()[k], value, rtol=0, atol=1e-5)
        torch.testing.assert_close(moco.queue.rows.T, g[f"state{step + 1}/queue"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("linear", {"": (128, 64)}),
        ("mlp", {"0.": (64, 64), "2.": (128, 64)}),
        ("wide", {"0.": (128, 64), "2.": (128, 128)}),
        ("deep", {"0.": (64, 64), "2.": (64, 64), "4.": (128, 64)}),
        ("dropout", {"0.": (64, 64), "3.": (128, 64)}),
    ],
)
def test_heads_have_the_specified_layers(kind, names):
    shapes = {k: tuple(v.shape) for k, v in head(kind, 64, 128).state_dict().items()}
    assert shapes == {f"{k}weight": v for k, v in names.items()} | {f"{k}bias": v[:1] for k, v in names.items()}


def test_an_unknown_head_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match="unknown head 'wild': did you mean 'wide'"):
        head("wild", 8, 8)


def test_a_mobilenet_begins_its_own_last_layer_with_small_weights_and_no_other_head():
    for kind in HEADS:
        projection = encoder("mobilenetv3_small", kind, 128, seed=0, hidden=64).head
        last = [m for m in projection.modules() if isinstance(m, nn.Linear)][-1]
        small = abs(float(last.weight.detach().std()) - 0.01) < 0.001
        assert small == (kind in ("linear", "mlp", "deep", "dropout")), kind
        assert not small or not last.bias.any()


def test_dropout_acts_on_queries_and_on_keys():
    moco = MoCo(Encoder(nn.Identity(), head("dropout", 16, 8)), dim=8, queue=8, bn_groups=1).train()
    x = torch.ones(4, 16)
    assert not torch.equal(moco.online(x), moco.online(x))
    assert not torch.equal(moco.target(x), moco.target(x))
