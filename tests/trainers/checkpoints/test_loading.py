"""The checkpoints of all releases load into our networks."""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from viewstream.trainers.checkpoints.layouts import PAIRS, read, unpacked
from viewstream.trainers.checkpoints.loading import load_backbone, load_encoder, match_state_dict
from viewstream.trainers.methods.multicrop import MultiCrop
from viewstream.trainers.nets.dino_head import Bottleneck, Head
from viewstream.trainers.nets.encoder import Encoder, backbone, encoder

from .layouts import ARCH, LAYOUTS, WIDTH, mlp, tensors, under


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_backbone_that_evaluations_take(name, body, tmp_path):
    path = tmp_path / "checkpoint.pth.tar"
    file = LAYOUTS[name](body, mlp())
    torch.save(file, path)
    net, _ = backbone(ARCH)
    loaded = load_backbone(net, path)
    assert all(torch.equal(v, body[k]) for k, v in net.state_dict().items())
    assert len(loaded.kept) == len(body)
    found = read(path)
    other = found.online if found.slow else found.target
    beside = sum(int(content.split()[0]) for content in found.beside.values())
    assert len(loaded.kept) + len(loaded.dropped) + len(other) + beside == tensors(file)


AVERAGED = {
    "state_dict_ema": lambda b, ema: {"state_dict": b, "state_dict_ema": ema, "arch": ARCH},
    "model_ema": lambda b, ema: {"model": b, "model_ema": under("module.", ema) | {"n_averaged": torch.tensor(3)}},
    "ema": lambda b, ema: {"model": under("module.", b), "ema": {"state_dict": ema, "decay": 0.9}},
    "ema_state_dict": lambda b, ema: {"state_dict": under("module.", b), "ema_state_dict": under("module.", ema)},
    "ema_model": lambda b, ema: {"state_dict": under("model.", b) | under("ema_model.module.", ema)},
}


@pytest.mark.parametrize("name", AVERAGED)
def test_averaged_weights_are_named_and_taken_on_request(name, body, tmp_path):
    averaged = {k: v + 1 for k, v in body.items()}
    torch.save(AVERAGED[name](body, averaged), tmp_path / "x.pth")
    net, _ = backbone(ARCH)
    loaded = load_backbone(net, tmp_path / "x.pth")
    assert all(torch.equal(v, body[k]) for k, v in net.state_dict().items())
    count = len(body) + (name == "model_ema")
    assert f"left out: {name} ({count} entries; --ema takes them)" in str(loaded)
    loaded = load_backbone(net, tmp_path / "x.pth", ema=True)
    assert all(torch.equal(v, averaged[k]) for k, v in net.state_dict().items())
    assert f"averaged weights {name}, {len(body)} entries loaded, left out: " in str(loaded)


def test_a_file_of_averaged_weights_alone_needs_no_option(body, tmp_path):
    torch.save({"model_ema": body}, tmp_path / "x.pth")
    for ema in (False, True):
        assert read(tmp_path / "x.pth", ema=ema).online.keys() == body.keys()


def test_safetensors_are_read_as_well(body, tmp_path):
    save_file(body, tmp_path / "net.safetensors")
    net, _ = backbone(ARCH)
    load_backbone(net, tmp_path / "net.safetensors")
    assert all(torch.equal(v, body[k]) for k, v in net.state_dict().items())


def test_plain_objects_beside_the_weights_are_read(body, tmp_path):
    options = argparse.Namespace(lr=0.1, out=Path("a/b"), best=np.float64(3), counts=np.arange(3), device="cpu")
    beside = {"args": options, "history": defaultdict(list, {"loss": [np.float32(1)]})}
    for new in (True, False):
        torch.save({"model": body, **beside}, tmp_path / "x.pth", _use_new_zipfile_serialization=new)
        assert read(tmp_path / "x.pth").online.keys() == body.keys()


def test_batchnorm_counters_may_be_missing_as_in_old_library_files(body, tmp_path):
    torch.save({k: v for k, v in body.items() if "num_batches" not in k}, tmp_path / "x.pth")
    net, _ = backbone(ARCH)
    assert str(load_backbone(net, tmp_path / "x.pth")).startswith("plain checkpoint, ")


@pytest.mark.parametrize("name", ["moco", "simclr", "swav", "seed", "supervised", "ensemble"])
def test_a_teachers_head_comes_with_its_backbone(name, body, tmp_path):
    top = mlp()
    torch.save(LAYOUTS[name](body, top), tmp_path / "teacher.pth")
    net = encoder(ARCH, "mlp", 8)
    load_encoder(net, tmp_path / "teacher.pth")
    assert all(torch.equal(net.head.state_dict()[k.removeprefix("fc.")], v) for k, v in top.items())


def dino_vit():
    """What DINO writes of a ViT, whose names are those of timm: the whole file and its backbone alone."""
    net = MultiCrop(backbone("test_vit")[0], Head(64, 12, 4, hidden=8))
    student, teacher = ({k: torch.rand_like(v) for k, v in net.state_dict().items()} for _ in range(2))
    file = {
        "student": under("module.", student),
        "teacher": teacher,
        "epoch": 3,
        "dino_loss": {"center": torch.ones(1)},
    }
    return teacher, {"whole": file, "backbone": {k[9:]: v for k, v in teacher.items() if k.startswith("backbone.")}}


@pytest.mark.parametrize("kind", ["whole", "backbone"])
def test_the_files_of_dino_give_the_teachers_vit(kind, tmp_path):
    teacher, files = dino_vit()
    torch.save(files[kind], tmp_path / "dino.pth")
    net, _ = backbone("test_vit")
    loaded = load_backbone(net, tmp_path / "dino.pth")
    assert all(torch.equal(v, teacher[f"backbone.{k}"]) for k, v in net.state_dict().items())
    assert any(name.startswith("fc.last_layer") for name in loaded.dropped) == (kind == "whole")


def test_the_bottleneck_of_dino_comes_without_its_last_layer(tmp_path):
    teacher, files = dino_vit()
    torch.save(files["whole"], tmp_path / "dino.pth")
    net = Encoder(backbone("test_vit")[0], Bottleneck(64, 4, hidden=8))
    loaded = load_encoder(net, tmp_path / "dino.pth")
    assert all(torch.equal(v, teacher[k]) for k, v in net.state_dict().items())
    assert {"fc.last_layer.weight_g", "fc.last_layer.weight_v"} <= set(loaded.dropped)


def test_our_own_heads_are_found_under_fc(body):
    heads = {"online.head.0.weight": torch.ones(2), "target.backbone.x": torch.ones(1)}
    file = {"recipe": {"method": "moco"}, "method": under("online.backbone.", body) | heads}
    assert "fc.0.weight" in unpacked(file).online


@given(st.sampled_from(sorted(PAIRS)), st.integers(0, 3))
def test_any_number_of_wrappers_is_ignored(kind, depth):
    trained, slow_copy = PAIRS[kind]
    body, wrap = {"conv1.weight": torch.ones(1), "layer1.0.bn1.bias": torch.zeros(2)}, "module." * depth
    head = {"fc.0.weight": torch.ones(3)}
    inner = "backbone." if kind == "dino" else ""  # DINO keeps its heads beside the backbones
    state = under(wrap + trained + inner, body) | under(wrap + trained, head)
    state |= under(wrap + slow_copy + inner, body) if slow_copy else {}
    found = unpacked({"state_dict": state | {wrap + "queue": torch.ones(4)}})
    assert found.kind == kind
    assert found.online.keys() == body.keys() | head.keys()
    assert found.target.keys() == (body.keys() if slow_copy else set())
    assert list(found.others) == ["queue"]


def test_a_format_can_be_chosen_if_a_file_has_two():
    file = {"state_dict": {"module.encoder_q.x": torch.zeros(1), "module.student.x": torch.ones(1)}}
    assert unpacked(file).online["x"] == 0
    assert unpacked(file, "seed").online["x"] == 1


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v3_small", "vit_tiny_patch16_224"])
def test_the_classifier_of_a_library_is_left_out_and_listed(arch):
    with torch.device("meta"):
        theirs = models.get_model(arch) if arch in models.list_models() else timm.create_model(arch)
        take, left, wrong = match_state_dict(backbone(arch)[0], theirs.state_dict())
    assert (len(take), len(left), wrong) == (len(theirs.state_dict()) - 2, 2, [])


def test_a_predictor_after_a_projector_is_left_out_and_listed(body):
    net = Encoder(backbone(ARCH)[0], nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 8)))
    take, left, wrong = match_state_dict(net, body | mlp() | {"fc.4.weight": torch.rand(3)})
    assert (len(take), left, wrong) == (len(body) + 4, ["fc.4.weight"], [])
