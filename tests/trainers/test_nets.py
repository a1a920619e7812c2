"""Networks are the originals': outputs and training steps as recorded, widths and parameter counts as specified."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from viewstream.pipeline.batch import Batch
from viewstream.shards.errors import UserError
from viewstream.trainers import optim
from viewstream.trainers.formats import fit
from viewstream.trainers.method import Now
from viewstream.trainers.mobilenet import eighths
from viewstream.trainers.moco import MoCo
from viewstream.trainers.nets import HEADS, Encoder, backbone, encoder, head
from viewstream.trainers.parts import Queue
from viewstream.trainers.unpack import unpacked
from viewstream.trainers.variants import Padded

GOLDEN = Path(__file__).parents[1] / "golden"
full = pytest.mark.full


def golden(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def uniform(entry, count):
    """The hash of tests/golden for entry `entry`: [count] in [-0.5, 0.5)."""
    h = np.arange(count, dtype=np.uint32) * np.uint32(2654435761)
    h += np.uint32((entry * 2246822519 + 374761393) % 2**32)
    h = (h ^ (h >> np.uint32(15))) * np.uint32(2246822519)
    return (h ^ (h >> np.uint32(13))) / 2**32 - 0.5


def formula(g):
    """Weights that are a function of an entry's place and name, under the original's names."""
    state, gain = {}, float(g.get("gain", 1))
    for entry, (name, text) in enumerate(zip(g["state_keys"].tolist(), g["state_shapes"].tolist(), strict=True)):
        shape = json.loads(text)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.long)
            continue
        u = uniform(entry, int(np.prod(shape)))
        if name.endswith(("running_mean", "bias")):
            value = 0.1 * u
        elif name.endswith("running_var"):
            value = 1 + 0.5 * u
        elif len(shape) == 1:
            value = 1 + 0.2 * u
        else:
            value = gain * u * np.sqrt(12) * np.sqrt(2 / (u.size / shape[0]))
        state[name] = torch.from_numpy(value.reshape(shape))
    return state


@pytest.fixture(scope="module")
def images():
    """The two recorded inputs, [2, 3, 224, 224]."""
    row, column, channel = np.arange(224)[:, None], np.arange(224), np.arange(3)[:, None, None]
    waves = (
        2 * np.sin(2 * np.pi * 3 * (row + 2 * column) / 224 + channel),
        2 * np.cos(2 * np.pi * 5 * (2 * row - column) / 224 + 2 * channel) - 1,
    )
    return torch.from_numpy(2 * uniform(1000003, 2 * 3 * 224 * 224).reshape(2, 3, 224, 224) + np.stack(waves))


def outputs(net, state, images):
    """Features and embeddings of a network with weights that a checkpoint's recogniser has named, in float64."""
    take, left, wrong = fit(net, state)
    assert (left, wrong) == ([], [])
    net.double().eval().load_state_dict(take)
    with torch.no_grad():
        features = net.backbone(images)
        return features.numpy(), net.head(features)


def near(ours, recorded):
    np.testing.assert_allclose(ours, recorded, rtol=0, atol=1e-8 * np.abs(recorded).max())


@pytest.mark.parametrize(
    "arch",
    [
        "mobilenetv3_small", "efficientnet_b0",
        *(
            pytest.param(arch, marks=full)
            for arch in ("mobilenetv3_large", "efficientnet_b1", "resnet18", "resnet34", "resnet50")
        ),
    ],
)  # fmt: skip
def test_networks_of_ssl_small_give_the_recorded_outputs(arch, images):
    g = golden(f"arch_sslsmall_{arch}")
    file = {"arch": arch, "state_dict": {f"module.encoder_q.{k}": v for k, v in formula(g).items()}}
    features, out = outputs(encoder(arch, "linear", 128), unpacked(file).online, images)
    near(features, g["feature"])
    near(out.numpy(), g["out"])


def layers(*widths):
    return [nn.Linear(*widths[:2]), nn.BatchNorm1d(widths[1]), nn.ReLU(), nn.Linear(*widths[1:])]


@pytest.mark.parametrize(
    ("arch", "part"),
    [
        ("resnet18", "student"),
        *(
            pytest.param(*p, marks=full)
            for p in (("resnet18", "teacher"), ("resnet50", "student"), ("resnet50", "teacher"))
        ),
    ],
)
def test_networks_of_spatial_ensemble_give_the_recorded_outputs(arch, part, images):
    """A student's predictor follows its projector in the file; both end in unit rows."""
    g = golden(f"arch_sts_{arch}_{part}")
    body, width = backbone(arch)
    top = layers(width, 4096, 256) + (layers(256, 4096, 256) if part == "student" else [])
    state = unpacked({"model": {f"module.student_encoder.{k}": v for k, v in formula(g).items()}}).online
    features, out = outputs(Encoder(body, nn.Sequential(*top)), state, images)
    near(features, g["feature_eval"])
    near(F.normalize(out, dim=1).numpy(), g["embedding_eval"])


@pytest.mark.parametrize(
    ("name", "kind"), [("moco_small_wide_t01", "wide"), ("moco_small_deep_t01", "deep"), ("moco_small_ksim_mlp", "mlp")]
)
def test_steps_with_each_head_equal_the_recorded_ones(name, kind):
    """Body = Linear(10, 6), BatchNorm, ReLU; state{t} = everything after t steps; ksim{t} = keys . queue."""
    g = {k: torch.from_numpy(v) for k, v in golden(name).items()}
    body = nn.Sequential(nn.Linear(10, 6), nn.BatchNorm1d(6), nn.ReLU())
    moco = MoCo(Encoder(body, head(kind, 6, 8)), dim=8, queue=32, momentum=float(g["momentum"]),
                temperature=float(g["temperature"]), bn_groups=1)  # fmt: skip

    def recorded(step, twin):
        start = f"state{step}/{twin}."
        state = {k.removeprefix(start): v for k, v in g.items() if k.startswith(start)}
        return {k.replace("body.", "backbone.", 1).replace("fc.", "head.", 1): v for k, v in state.items()}

    for twin, ours in (("encoder_q", moco.online), ("encoder_k", moco.target)):
        ours.load_state_dict(recorded(0, twin))
    moco.queue = Queue(g["state0/queue"].T.clone())
    moco.queue.head.fill_(int(g["state0/queue_ptr"]))
    optimizer = optim.sgd(moco, float(g["lr"]), 0.9, 1e-4)
    for step in range(3):
        now, nothing = Now(step, 3, 0), torch.zeros(8, dtype=torch.long)
        moco.begin(now)
        loss, _ = moco(Batch((g[f"im_q{step}"], g[f"im_k{step}"]), nothing, nothing), now)
        torch.testing.assert_close(loss.detach().double(), g["loss"][step], rtol=0, atol=1e-5)
        if "ksim0" in g:
            torch.testing.assert_close(moco.keys @ moco.queue.rows.T, g[f"ksim{step}"], rtol=0, atol=1e-5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        moco.end(now)
        for twin, ours in (("encoder_q", moco.online), ("encoder_k", moco.target)):
            for k, value in recorded(step + 1, twin).items():
                torch.testing.assert_close(ours.state_dict()[k], value, rtol=0, atol=1e-5)
        torch.testing.assert_close(moco.queue.rows.T, g[f"state{step + 1}/queue"], rtol=0, atol=1e-5)


def count(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("arch", "width", "parameters"),
    [
        ("resnet18", 512, 11_176_512), ("resnet50", 2048, 23_508_032), ("resnext50_32x4d", 2048, 22_979_904),
        ("wide_resnet50_2", 2048, 66_834_240), ("mobilenetv3_large", 1280, 4_202_032),
        ("mobilenetv3_small", 1024, 1_517_856), ("efficientnet_b0", 1280, 4_007_548),
        ("vit_tiny_patch16_224", 192, 5_524_416),
        *(
            pytest.param(*row, marks=full) for row in (
                ("resnet34", 512, 21_284_672), ("resnet101", 2048, 42_500_160), ("resnet152", 2048, 58_143_808),
                ("resnext101_32x8d", 2048, 86_742_336), ("resnext152_32x8d", 2048, 120_323_392),
                ("wide_resnet101_2", 2048, 124_837_696), ("efficientnet_b1", 1280, 6_513_184),
                ("efficientnet_b2", 1408, 7_700_994), ("efficientnet_b3", 1536, 10_696_232),
                ("vit_small_patch16_224", 384, 21_665_664), ("vit_base_patch16_224", 768, 85_798_656),
                ("deit_small_patch16_224", 384, 21_665_664),
            )
        ),
    ],
)  # fmt: skip
def test_backbones_have_the_specified_widths_and_parameters(arch, width, parameters):
    with torch.device("meta"):
        net, own = backbone(arch)
    assert (own, count(net)) == (width, parameters)


@pytest.mark.parametrize(
    ("arch", "parameters", "norms"),
    [
        ("swav_resnet50", 27_970_752, 1), ("swav_resnet50_w2", 128_534_784, 1), ("swav_resnet50_w4", 443_560_320, 1),
        ("swav_resnet50_w5", 692_628_928, 0), ("simclr_resnet50", 27_970_752, 1),
    ],
)  # fmt: skip
def test_teachers_bring_their_heads(arch, parameters, norms):
    with torch.device("meta"):
        net = encoder(arch, "linear", 128)
    assert count(net) == parameters
    assert sum(isinstance(m, nn.BatchNorm1d) for m in net.head.modules()) == norms


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


def test_a_head_misspelt_is_not_a_linear_one():
    with pytest.raises(UserError, match="unknown head 'wild': did you mean 'wide'"):
        head("wild", 8, 8)


def test_mobilenets_own_last_layer_begins_small_and_wide_heads_are_all_new():
    for kind in HEADS:
        top = encoder("mobilenetv3_small", kind, 128, seed=0).head
        last = [m for m in top.modules() if isinstance(m, nn.Linear)][-1]
        assert (abs(float(last.weight.detach().std()) - 0.01) < 0.001, not last.bias.any()) == (
            (kind != "wide"),
        ) * 2, kind


def test_dropout_acts_on_queries_and_on_keys():
    moco = MoCo(Encoder(nn.Identity(), head("dropout", 16, 8)), dim=8, queue=8, bn_groups=1).train()
    x = torch.ones(4, 16)
    assert not torch.equal(moco.online(x), moco.online(x))
    assert not torch.equal(moco.target(x), moco.target(x))


def test_efficientnet_drops_features_and_blocks_as_specified():
    with torch.device("meta"):
        net, _ = backbone("efficientnet_b2")
    blocks = [block for stage in net.blocks for block in stage]
    assert net.drop_rate == 0.3
    for i, block in enumerate(blocks):
        if block.has_skip and i:
            assert block.drop_path.drop_prob == pytest.approx(0.2 * i / len(blocks))
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


@pytest.mark.parametrize(
    ("arch", "edges"),
    [
        pytest.param("efficientnet_b0", ((0, 1), (0, 1), (1, 2), (0, 1), (1, 2)), marks=full),
        ("efficientnet_b1", ((0, 1), (0, 1), (1, 2), (0, 1), (2, 2))),
        ("efficientnet_b2", ((0, 1), (0, 1), (2, 2), (1, 1), (2, 2))),
        pytest.param("efficientnet_b3", ((0, 1), (0, 1), (2, 2), (0, 1), (2, 2)), marks=full),
    ],
)
def test_efficientnet_pads_for_its_native_resolution(arch, edges):
    """Of the stem and the blocks that halve, as listed in the spec; left and right."""
    with torch.device("meta"):
        net, _ = backbone(arch)
    assert tuple(m.edges[:2] for m in net.modules() if isinstance(m, Padded)) == edges
    assert not [m for m in net.modules() if type(m).__name__ == "Conv2dSame"]


@given(st.integers(1, 4000))
def test_channels_round_toeighths_and_never_lose_a_tenth(channels):
    assert eighths(channels) % 8 == 0
    assert 0.9 * channels <= eighths(channels) <= max(8, channels + 8)


@pytest.mark.parametrize("arch", ["resnet18", "resnet10t"])
def test_a_small_stem_keeps_small_images(arch):
    seen = []
    with torch.device("meta"), torch.no_grad():
        net, width = backbone(arch, stem="cifar")
        net.layer1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[-2:]))
        assert net(torch.zeros(2, 3, 16, 16)).shape == (2, width)
    assert seen == [(16, 16)]


@pytest.mark.parametrize("arch", ["mobilenetv3_small", "efficientnet_b0", "vit_tiny_patch16_224"])
def test_a_small_stem_is_for_resnets(arch):
    with torch.device("meta"), pytest.raises(UserError, match=f"for ResNets, {arch} has no stem of theirs"):
        backbone(arch, stem="cifar")


def test_a_seed_decides_the_weights():
    first, again, other = (encoder("mobilenetv3_small", "mlp", 8, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["head.0.weight"], other["head.0.weight"])


def test_small_and_original_names_are_among_the_suggestions():
    with pytest.raises(UserError, match="did you mean 'mobilenetv3_small'"):
        backbone("mobilenetv3_smal")
