"""Networks with weights from a formula give the outputs recorded from the releases."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from viewstream.trainers.checkpoints.layouts import unpacked
from viewstream.trainers.checkpoints.loading import match_state_dict
from viewstream.trainers.nets.encoder import Encoder, backbone, encoder

full = pytest.mark.full


def uniform(entry, count):
    """The hash that the recordings use for entry `entry`: [count] numbers in [-0.5, 0.5)."""
    h = np.arange(count, dtype=np.uint32) * np.uint32(2654435761)
    h += np.uint32((entry * 2246822519 + 374761393) % 2**32)
    h = (h ^ (h >> np.uint32(15))) * np.uint32(2246822519)
    return (h ^ (h >> np.uint32(13))) / 2**32 - 0.5


def formula(g):
    """Weights that are a function of an entry's number and name, under the names of the release."""
    state, gain = {}, float(g.get("gain", 1))
    for entry, (name, text) in enumerate(zip(g["state_keys"], g["state_shapes"], strict=True)):
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
    """Features and embeddings, in float64, of a network with the weights of an unpacked checkpoint."""
    take, left, wrong = match_state_dict(net, state)
    assert (left, wrong) == ([], [])
    net.double().eval().load_state_dict(take)
    with torch.no_grad():
        features = net.backbone(images)
        return features, net.head(features)


def near(ours, recorded):
    torch.testing.assert_close(ours, recorded, rtol=0, atol=1e-8 * float(recorded.abs().max()))


@pytest.mark.parametrize(
    "arch",
    [
        "mobilenetv3_small",
        "efficientnet_b0",
        *(
            pytest.param(arch, marks=full)
            for arch in ("mobilenetv3_large", "efficientnet_b1", "resnet18", "resnet34", "resnet50")
        ),
    ],
)
def test_networks_of_ssl_small_give_the_recorded_outputs(arch, images, golden):
    g = golden(f"arch_sslsmall_{arch}")
    file = {"arch": arch, "state_dict": {f"module.encoder_q.{k}": v for k, v in formula(g).items()}}
    features, out = outputs(encoder(arch, "linear", 128), unpacked(file).online, images)
    near(features, g["feature"])
    near(out, g["out"])


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
def test_networks_of_spatial_ensemble_give_the_recorded_outputs(arch, part, images, golden):
    """In the file a student's predictor follows its projector; the recorded embeddings are unit rows."""
    g = golden(f"arch_sts_{arch}_{part}")
    body, width = backbone(arch)
    top = layers(width, 4096, 256) + (layers(256, 4096, 256) if part == "student" else [])
    state = unpacked({"model": {f"module.student_encoder.{k}": v for k, v in formula(g).items()}}).online
    features, out = outputs(Encoder(body, nn.Sequential(*top)), state, images)
    near(features, g["feature_eval"])
    near(F.normalize(out, dim=1), g["embedding_eval"])
