"""Other programs read the converted checkpoints, and the report lists what was kept."""

import errno
import pickle
from typing import get_args, get_type_hints
from unittest.mock import Mock

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torchvision.models import resnet18

from viewstream.shards.errors import UserError
from viewstream.tools.convert_checkpoint import Convert, convert
from viewstream.trainers.checkpoints.layouts import KINDS
from viewstream.trainers.checkpoints.loading import load_backbone
from viewstream.trainers.checkpoints.restart import restart
from viewstream.trainers.checkpoints.whole import DIGEST, tensors_digest
from viewstream.trainers.methods.moco import MoCo
from viewstream.trainers.nets.encoder import backbone, encoder


@pytest.fixture(scope="module")
def body():
    return {k: v for k, v in resnet18().state_dict().items() if not k.startswith("fc.")}


@pytest.fixture(scope="module")
def ours(body, tmp_path_factory):
    """The parts of a last.pt that a converter reads: MoCo on ResNet-18, two encoders and a queue."""
    path = tmp_path_factory.mktemp("run") / "last.pt"
    method = {f"{twin}.backbone.{k}": v for twin in ("online", "target") for k, v in body.items()}
    head = {"online.head.weight": torch.rand(8, 512), "online.head.bias": torch.rand(8)}
    queue = {"queue.rows": torch.rand(16, 8), "queue.head": torch.tensor(4)}
    torch.save({"step": 1, "recipe": {"arch": "resnet18", "method": "moco"}, "method": method | head | queue}, path)
    return path


def test_torchvision_loads_a_converted_backbone(ours, body, tmp_path):
    report = convert(Convert(ours, tmp_path / "net.pth"))
    state = torch.load(tmp_path / "net.pth", weights_only=True)
    assert all(torch.equal(state[k], v) for k, v in body.items())
    assert resnet18().load_state_dict(state, strict=False).missing_keys == ["fc.weight", "fc.bias"]
    assert report.splitlines() == [
        "found: viewstream checkpoint, resnet18, online network",
        "kept: 120 entries, conv1.weight, bn1.weight, bn1.bias, bn1.running_mean and 116 more",
        "left out: fc (2), queue (2), target network (120)",
        f"written to {tmp_path / 'net.pth'}",
    ]


def test_averaged_weights_are_counted_and_converted_on_request(body, tmp_path):
    averaged = {k: v + 1 for k, v in body.items()}
    torch.save({"state_dict": body, "state_dict_ema": averaged, "arch": "resnet18"}, tmp_path / "timm.pth.tar")
    report = convert(Convert(tmp_path / "timm.pth.tar", tmp_path / "net.pth"))
    assert "left out: state_dict_ema (120 entries; --ema takes them)" in report
    report = convert(Convert(tmp_path / "timm.pth.tar", tmp_path / "ema.pth", ema=True))
    assert "online network of state_dict_ema\n" in report
    assert "left out: state_dict (120 entries)\n" in report
    state = torch.load(tmp_path / "ema.pth", weights_only=True)
    assert all(torch.equal(state[k], v) for k, v in averaged.items())


def test_weights_that_are_not_finite_are_named(body, tmp_path):
    torch.save({**body, "bn1.bias": torch.full((64,), float("nan"))}, tmp_path / "diverged.pth")
    report = convert(Convert(tmp_path / "diverged.pth", tmp_path / "net.pth", arch="resnet18"))
    assert "\nnot finite: 1 of 120 entries, bn1.bias\n" in report


def test_every_format_can_be_named():
    formats = get_args(get_args(get_type_hints(Convert, include_extras=True)["format"])[0])
    assert formats == ("auto", *KINDS)


def test_a_head_is_kept_on_request(ours, tmp_path):
    convert(Convert(ours, tmp_path / "net.safetensors", to="timm", head=True))
    state = load_file(tmp_path / "net.safetensors")
    assert tuple(state["fc.weight"].shape) == (8, 512)
    assert len(state) == 122


def test_a_safetensors_file_carries_a_digest_of_its_tensors(ours, tmp_path):
    convert(Convert(ours, tmp_path / "net.safetensors"))
    with safe_open(tmp_path / "net.safetensors", framework="pt") as file:
        assert file.metadata() == {DIGEST: tensors_digest(load_file(tmp_path / "net.safetensors"))}
    data = bytearray((tmp_path / "net.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "net.safetensors").write_bytes(data)
    with pytest.raises(UserError, match=r"is damaged \(its tensors are not as they were written\)"):
        convert(Convert(tmp_path / "net.safetensors", tmp_path / "again.pth", arch="resnet18"))


def test_a_detectron2_file_has_the_names_that_detectron2_matches(ours, body, tmp_path):
    convert(Convert(ours, tmp_path / "net.pkl", to="detectron2", head=True))
    file = pickle.loads((tmp_path / "net.pkl").read_bytes())
    assert file["matching_heuristics"] is True
    pairs = {
        "conv1.weight": "stem.conv1.weight",
        "bn1.running_var": "stem.conv1.norm.running_var",
        "layer1.0.conv2.weight": "res2.0.conv2.weight",
        "layer1.0.bn2.bias": "res2.0.conv2.norm.bias",
        "layer4.0.downsample.0.weight": "res5.0.shortcut.weight",
        "layer4.0.downsample.1.weight": "res5.0.shortcut.norm.weight",
    }
    for name, other in pairs.items():
        assert (file["model"][other] == body[name].numpy()).all(), name
    assert len(file["model"]) == len(body)


def test_ours_becomes_a_moco_checkpoint_that_starts_a_run(ours, tmp_path):
    convert(Convert(ours, tmp_path / "moco.pth.tar", to="moco"))
    moco = MoCo(encoder("resnet18", "linear", 8), dim=8, queue=16)
    loaded = restart(moco, tmp_path / "moco.pth.tar")
    method = torch.load(ours, weights_only=True)["method"]
    assert loaded.kind == "moco"
    assert not loaded.dropped
    assert torch.equal(moco.queue.rows, method["queue.rows"])
    assert int(moco.queue.head) == 4
    assert all(torch.equal(v, method[f"online.{k}"]) for k, v in moco.online.state_dict().items())


def test_a_seed_checkpoint_becomes_moco_as_ssl_small_converts_it(tmp_path):
    """The student becomes encoder_q, the queue stays, the teacher goes; no copy of the student becomes encoder_k."""
    net = encoder("mobilenetv3_small", "mlp", 128)
    names = {k: k.removeprefix("backbone.").replace("head.", "fc.") for k in net.state_dict()}
    student = {f"module.student.{names[k]}": v for k, v in net.state_dict().items()}
    queue = {"module.queue": torch.rand(128, 32), "module.queue_ptr": torch.tensor([8])}
    state = student | {"module.teacher.fc.bias": torch.rand(2)} | queue
    file = {"epoch": 5, "arch": "mobilenetv3_small", "optimizer": {}, "state_dict": state}
    torch.save(file, tmp_path / "seed.tar")
    report = convert(Convert(tmp_path / "seed.tar", tmp_path / "moco.tar", to="moco"))
    moco = torch.load(tmp_path / "moco.tar", weights_only=True)
    assert (moco["epoch"], moco["arch"]) == (5, "mobilenetv3_small")
    assert moco["state_dict"].keys() == {k.replace("student", "encoder_q") for k in student} | queue.keys()
    assert "left out: teacher (1)" in report


def test_an_efficientnet_is_written_under_timm_names(tmp_path):
    """This project's networks have timm's names already; torchvision has other names, which is an error."""
    net, _ = backbone("efficientnet_b0")
    torch.save({"state_dict": {f"module.encoder_q.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "x.tar")
    arch = {"arch": "efficientnet_b0"}
    convert(Convert(tmp_path / "x.tar", tmp_path / "net.pth", to="timm", **arch))
    assert torch.load(tmp_path / "net.pth", weights_only=True).keys() == net.state_dict().keys()
    with pytest.raises(UserError, match="torchvision has no efficientnet_b0 with these keys"):
        convert(Convert(tmp_path / "x.tar", tmp_path / "other.pth", **arch))
    with pytest.raises(UserError, match="detectron2 reads only ResNets, and efficientnet_b0 is not one"):
        convert(Convert(tmp_path / "x.tar", tmp_path / "other.pkl", to="detectron2", **arch))
    assert not list(tmp_path.glob("other*"))


def test_the_vit_that_dino_trained_here_is_written_for_timm(tmp_path):
    net, _ = backbone("test_vit")
    head = {"head.mlp.0.weight": torch.ones(2, 2), "head.last_layer.weight_v": torch.ones(2, 2)}
    body = {f"backbone.{k}": v for k, v in net.state_dict().items()}
    method = {f"{twin}.{k}": v + (twin == "online") for twin in ("online", "target") for k, v in (body | head).items()}
    file = {"recipe": {"arch": "test_vit", "method": "dino"}, "method": method | {"center": torch.ones(2)}}
    torch.save(file, tmp_path / "last.pt")
    report = convert(Convert(tmp_path / "last.pt", tmp_path / "net.pth", to="timm"))
    state = torch.load(tmp_path / "net.pth", weights_only=True)
    timm.create_model("test_vit", num_classes=0).load_state_dict(state)
    assert all(torch.equal(state[k], v) for k, v in net.state_dict().items())
    assert "found: viewstream checkpoint, test_vit, target network\n" in report
    assert "left out: fc (2), center (1), online network" in report


def test_a_network_with_a_small_stem_is_recognized_by_its_recipe(tmp_path):
    net, _ = backbone("test_resnet", stem="cifar")
    method = {f"online.backbone.{k}": v for k, v in net.state_dict().items()}
    torch.save({"recipe": {"arch": "test_resnet", "stem": "cifar"}, "method": method}, tmp_path / "last.pt")
    with pytest.raises(UserError, match="timm has no test_resnet with these keys"):  # its stem has three convolutions
        convert(Convert(tmp_path / "last.pt", tmp_path / "net.pth", to="timm"))
    convert(Convert(tmp_path / "last.pt", tmp_path / "net.tar", to="moco"))
    load_backbone(backbone("test_resnet", stem="cifar")[0], tmp_path / "net.tar")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"out": "net.bin"}, "is no torchvision file: give it a name that ends with .pth or .pt or .safetensors"),
        ({"arch": "resnet34"}, "does not fit the network"),
        ({"arch": "resnet180"}, "unknown arch 'resnet180': did you mean 'resnet18'"),
        ({"format": "seed"}, "it is no seed checkpoint"),
        ({"out": "nowhere/net.pth"}, "cannot be written"),
        ({"out": "there.pth"}, "already exists"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(ours, tmp_path, change, reason):
    (tmp_path / "there.pth").write_text("mine")
    out = tmp_path / change.pop("out", "net.pth")
    with pytest.raises(UserError, match=reason):
        convert(Convert(ours, out, **change))
    assert [p.name for p in tmp_path.iterdir()] == ["there.pth"]
    assert (tmp_path / "there.pth").read_text() == "mine"


def test_a_full_disk_is_one_line_and_leaves_nothing(ours, tmp_path, monkeypatch):
    own = torch.save

    def full(content, file):
        def write(content):
            raise OSError(errno.ENOSPC, "No space left on device")

        own(content, Mock(write=write))

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"net.pth cannot be written \(No space left on device\)"):
        convert(Convert(ours, tmp_path / "net.pth"))
    assert not list(tmp_path.iterdir())


def test_a_file_that_names_no_network_needs_an_arch(body, tmp_path):
    torch.save(body, tmp_path / "plain.pth")
    with pytest.raises(UserError, match="name it with --arch"):
        convert(Convert(tmp_path / "plain.pth", tmp_path / "net.pth"))


@pytest.mark.full
def test_the_program_exits_with_2_and_one_line_on_a_mistake(program, ours, tmp_path):
    done = program("tools/convert_checkpoint.py", ours, tmp_path / "net.pth", "--to", "timm")
    assert (done.returncode, done.stdout.count("\n")) == (0, 4)
    done = program("tools/convert_checkpoint.py", ours, tmp_path / "net.pth", "--to", "timn")
    assert done.returncode == 2
    assert "did you mean 'timm'" in done.stderr
    assert done.stderr.count("\n") == 1
