"""Converted checkpoints are what the other programs read, and the program says what it kept."""

import importlib.util
import pickle
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file
from torchvision.models import resnet18

from viewstream.shards.errors import UserError
from viewstream.trainers.checkpoints.loading import load_backbone
from viewstream.trainers.checkpoints.restart import restart
from viewstream.trainers.methods.moco import MoCo
from viewstream.trainers.nets.encoder import backbone, encoder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """The program as a module."""
    spec = importlib.util.spec_from_file_location("convert_tool", ROOT / "tools" / "convert_checkpoint.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def body():
    return {k: v for k, v in resnet18().state_dict().items() if not k.startswith("fc.")}


@pytest.fixture(scope="module")
def ours(body, tmp_path_factory):
    """A last.pt, as far as a converter looks: MoCo on ResNet-18, two encoders and a queue."""
    path = tmp_path_factory.mktemp("run") / "last.pt"
    method = {f"{twin}.backbone.{k}": v for twin in ("online", "target") for k, v in body.items()}
    head = {"online.head.weight": torch.rand(8, 512), "online.head.bias": torch.rand(8)}
    queue = {"queue.rows": torch.rand(16, 8), "queue.head": torch.tensor(4)}
    torch.save({"step": 1, "recipe": {"arch": "resnet18", "method": "moco"}, "method": method | head | queue}, path)
    return path


def test_torchvision_loads_a_converted_backbone(tool, ours, body, tmp_path):
    said = tool.convert(tool.Convert(ours, tmp_path / "net.pth"))
    state = torch.load(tmp_path / "net.pth", weights_only=True)
    assert all(torch.equal(state[k], v) for k, v in body.items())
    assert resnet18().load_state_dict(state, strict=False).missing_keys == ["fc.weight", "fc.bias"]
    assert said.splitlines() == [
        "found: viewstream checkpoint, resnet18, online network",
        "kept: 120 entries, conv1.weight, bn1.weight, bn1.bias, bn1.running_mean and 116 more",
        "left out: fc (2), queue (2), slow copy (120)",
        f"written to {tmp_path / 'net.pth'}",
    ]


def test_a_head_is_kept_where_it_is_asked_for(tool, ours, tmp_path):
    tool.convert(tool.Convert(ours, tmp_path / "net.safetensors", to="timm", head=True))
    state = load_file(tmp_path / "net.safetensors")
    assert tuple(state["fc.weight"].shape) == (8, 512)
    assert len(state) == 122


def test_detectron2_finds_the_names_it_matches(tool, ours, body, tmp_path):
    tool.convert(tool.Convert(ours, tmp_path / "net.pkl", to="detectron2", head=True))
    made = pickle.loads((tmp_path / "net.pkl").read_bytes())
    assert made["matching_heuristics"] is True
    pairs = {
        "conv1.weight": "stem.conv1.weight",
        "bn1.running_var": "stem.conv1.norm.running_var",
        "layer1.0.conv2.weight": "res2.0.conv2.weight",
        "layer1.0.bn2.bias": "res2.0.conv2.norm.bias",
        "layer4.0.downsample.0.weight": "res5.0.shortcut.weight",
        "layer4.0.downsample.1.weight": "res5.0.shortcut.norm.weight",
    }
    for name, other in pairs.items():
        assert (made["model"][other] == body[name].numpy()).all(), name
    assert len(made["model"]) == len(body)


def test_ours_becomes_a_moco_checkpoint_that_starts_a_run(tool, ours, tmp_path):
    tool.convert(tool.Convert(ours, tmp_path / "moco.pth.tar", to="moco"))
    moco = MoCo(encoder("resnet18", "linear", 8), dim=8, queue=16)
    loaded = restart(moco, tmp_path / "moco.pth.tar")
    was = torch.load(ours, weights_only=True)["method"]
    assert loaded.kind == "moco"
    assert not loaded.dropped
    assert torch.equal(moco.queue.rows, was["queue.rows"])
    assert int(moco.queue.head) == 4
    assert all(torch.equal(v, was[f"online.{k}"]) for k, v in moco.online.state_dict().items())


def test_a_seed_checkpoint_becomes_moco_as_ssl_small_converts_it(tool, tmp_path):
    """Student -> encoder_q, teacher gone, queue kept; nothing made up for encoder_k, no second copy of the student."""
    net = encoder("mobilenetv3_small", "mlp", 128)
    student = {f"module.student.{k.removeprefix('backbone.').replace('head.', 'fc.')}": v
               for k, v in net.state_dict().items()}  # fmt: skip
    queue = {"module.queue": torch.rand(128, 32), "module.queue_ptr": torch.tensor([8])}
    file = {"epoch": 5, "arch": "mobilenetv3_small", "optimizer": {}}
    torch.save(
        file | {"state_dict": student | {"module.teacher.fc.bias": torch.rand(2)} | queue}, tmp_path / "seed.tar"
    )
    said = tool.convert(tool.Convert(tmp_path / "seed.tar", tmp_path / "moco.tar", to="moco"))
    made = torch.load(tmp_path / "moco.tar", weights_only=True)
    assert (made["epoch"], made["arch"]) == (5, "mobilenetv3_small")
    assert made["state_dict"].keys() == {k.replace("student", "encoder_q") for k in student} | queue.keys()
    assert "left out: teacher (1)" in said


def test_originals_efficientnet_is_written_under_timms_names(tool, tmp_path):
    """A checkpoint of ours holds timm's names already; torchvision has other ones, and says so."""
    net, _ = backbone("efficientnet_b0")
    torch.save({"state_dict": {f"module.encoder_q.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "x.tar")
    how = {"arch": "efficientnet_b0"}
    tool.convert(tool.Convert(tmp_path / "x.tar", tmp_path / "net.pth", to="timm", **how))
    assert torch.load(tmp_path / "net.pth", weights_only=True).keys() == net.state_dict().keys()
    with pytest.raises(UserError, match="torchvision has no efficientnet_b0 with these keys"):
        tool.convert(tool.Convert(tmp_path / "x.tar", tmp_path / "other.pth", **how))
    with pytest.raises(UserError, match="detectron2 takes ResNets, efficientnet_b0 is none"):
        tool.convert(tool.Convert(tmp_path / "x.tar", tmp_path / "other.pkl", to="detectron2", **how))
    assert not list(tmp_path.glob("other*"))


def test_a_network_with_a_small_stem_is_recognised_by_its_recipe(tool, tmp_path):
    net, _ = backbone("test_resnet", stem="cifar")
    method = {f"online.backbone.{k}": v for k, v in net.state_dict().items()}
    torch.save({"recipe": {"arch": "test_resnet", "stem": "cifar"}, "method": method}, tmp_path / "last.pt")
    with pytest.raises(UserError, match="timm has no test_resnet with these keys"):  # its stem has three convolutions
        tool.convert(tool.Convert(tmp_path / "last.pt", tmp_path / "net.pth", to="timm"))
    tool.convert(tool.Convert(tmp_path / "last.pt", tmp_path / "net.tar", to="moco"))
    load_backbone(backbone("test_resnet", stem="cifar")[0], tmp_path / "net.tar")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"out": "net.bin"}, "name a torchvision file with .pth or .pt or .safetensors at its end"),
        ({"arch": "resnet34"}, "does not fit the network"),
        ({"arch": "resnet180"}, "unknown arch 'resnet180': did you mean 'resnet18'"),
        ({"format": "seed"}, "it is no seed checkpoint"),
        ({"out": "nowhere/net.pth"}, "cannot be written"),
        ({"out": "there.pth"}, "is there already"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(tool, ours, tmp_path, change, reason):
    (tmp_path / "there.pth").write_text("mine")
    out = tmp_path / change.pop("out", "net.pth")
    with pytest.raises(UserError, match=reason):
        tool.convert(tool.Convert(ours, out, **change))
    assert [p.name for p in tmp_path.iterdir()] == ["there.pth"]
    assert (tmp_path / "there.pth").read_text() == "mine"


def test_a_file_that_names_no_network_needs_an_arch(tool, body, tmp_path):
    torch.save(body, tmp_path / "plain.pth")
    with pytest.raises(UserError, match="name it with --arch"):
        tool.convert(tool.Convert(tmp_path / "plain.pth", tmp_path / "net.pth"))


@pytest.mark.full
def test_the_program_exits_with_2_and_one_line_on_a_mistake(program, ours, tmp_path):
    done = program("tools/convert_checkpoint.py", ours, tmp_path / "net.pth", "--to", "timm")
    assert (done.returncode, done.stdout.count("\n")) == (0, 4)
    done = program("tools/convert_checkpoint.py", ours, tmp_path / "net.pth", "--to", "timn")
    assert done.returncode == 2
    assert "did you mean 'timm'" in done.stderr
    assert done.stderr.count("\n") == 1
