"""Every release's checkpoint gives its networks; nothing is left out in silence, nothing missing is made up."""

import io
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from viewstream.shards.errors import UserError
from viewstream.trainers.formats import fit, load_backbone, load_encoder, restart
from viewstream.trainers.kcl import KCL
from viewstream.trainers.moco import MoCo
from viewstream.trainers.nets import Encoder, backbone, encoder
from viewstream.trainers.unpack import KINDS, PAIRS, read, unpacked

ARCH, WIDTH = "test_resnet", 96  # timm's smallest


@pytest.fixture
def body():
    """A network with weights of its own, running statistics included: named tensors."""
    net, _ = backbone(ARCH)
    return {k: torch.rand_like(v) if v.is_floating_point() else v for k, v in net.state_dict().items()}


def mlp(width=WIDTH, dim=8):
    return {"fc.0.weight": torch.rand(width, width), "fc.0.bias": torch.rand(width),
            "fc.2.weight": torch.rand(dim, width), "fc.2.bias": torch.rand(dim)}  # fmt: skip


def under(prefix, *states):
    return {prefix + k: v for state in states for k, v in state.items()}


def noise(body):
    return {k: torch.rand_like(v) if v.is_floating_point() else v for k, v in body.items()}


def tensors(file):
    """How many weights there are in nested dictionaries."""
    inner = sum(tensors(value) for value in file.values() if isinstance(value, dict))
    return inner + sum(isinstance(value, torch.Tensor) for key, value in file.items() if key != "best_acc1")


# Name -> (body, head) -> what the release writes.
LAYOUTS = {
    "moco": lambda b, h: {
        "epoch": 200, "arch": ARCH, "optimizer": {},
        "state_dict": under("module.encoder_q.", b, h) | under("module.encoder_k.", noise(b), h)
        | {"module.queue": torch.rand(8, 16), "module.queue_ptr": torch.zeros(1).long()},
    },
    "kcl": lambda b, h: {
        "state_dict": under("module.encoder_q.", b, h) | under("module.encoder_k.", noise(b), h)
        | {"module.queue": torch.rand(8, 16), "module.label_queue": torch.zeros(16).long()},
    },
    "converted": lambda b, h: {"state_dict": under("module.encoder_q.", b, h) | under("module.student.", noise(b), h)},
    "supervised": lambda b, h: {"epoch": 90, "best_acc1": torch.tensor(7.0), "state_dict": under("module.", b, h)},
    "decoupling": lambda b, h: {
        "state_dict_best": {"feat_model": under("module.", b), "classifier": under("module.", h)}
    },
    "simclr": lambda b, h: {"model": under("module.module.module.", b, h)},
    "swav": lambda b, h: under("module.", b) | {k.replace("fc.", "module.projection_head."): v for k, v in h.items()}
    | {"module.prototypes.weight": torch.rand(4, 8)},
    "seed": lambda b, h: {
        "arch": ARCH, "state_dict": under("module.student.", b, h) | under("module.teacher.", noise(b), h)
        | {"module.queue": torch.rand(8, 16), "module.small_queue": torch.rand(8, 16)},
    },
    "seed on one GPU": lambda b, h: {"state_dict": under("student.", b, h) | under("teacher.", noise(b), h)},
    "ensemble": lambda b, h: {
        "start_epoch": 3,
        "model": under("module.teacher_encoder.", b, h) | under("module.student_encoder.", noise(b), h),
    },
    "ensemble on one GPU": lambda b, h: {
        "model": under("teacher_encoder.", b, h) | under("student_encoder.", noise(b), h)
    },
    "library": lambda b, h: b | {"fc.weight": torch.rand(10, WIDTH), "fc.bias": torch.rand(10)},
    "library in a box": lambda b, h: {"model": b | {"head.weight": torch.rand(10, WIDTH)}},
    "ours": lambda b, h: {
        "step": 3, "recipe": {"arch": ARCH, "method": "moco"},
        "method": under("online.backbone.", b) | under("target.backbone.", noise(b))
        | {"queue.rows": torch.rand(16, 8)},
    },
    "our teacher": lambda b, h: {
        "recipe": {"arch": ARCH, "method": "sts"},
        "method": under("target.backbone.", b) | under("online.backbone.", noise(b)),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_backbone_that_evaluations_take_comes_out_of_every_layout(name, body, tmp_path):
    path = tmp_path / "checkpoint.pth.tar"
    file = LAYOUTS[name](body, mlp())
    torch.save(file, path)
    net, _ = backbone(ARCH)
    loaded = load_backbone(net, path)
    assert all(torch.equal(v, body[k]) for k, v in net.state_dict().items())
    assert len(loaded.kept) == len(body)
    found = read(path)
    other = found.online if found.slow else found.target
    assert len(loaded.kept) + len(loaded.dropped) + len(other) == tensors(file)


def test_safetensors_are_read_as_well(body, tmp_path):
    save_file(body, tmp_path / "net.safetensors")
    net, _ = backbone(ARCH)
    load_backbone(net, tmp_path / "net.safetensors")
    assert all(torch.equal(v, body[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize("name", ["moco", "simclr", "swav", "seed", "supervised", "ensemble"])
def test_a_teachers_head_comes_with_its_backbone(name, body, tmp_path):
    top = mlp()
    torch.save(LAYOUTS[name](body, top), tmp_path / "teacher.pth")
    net = encoder(ARCH, "mlp", 8)
    load_encoder(net, tmp_path / "teacher.pth")
    assert all(torch.equal(net.head.state_dict()[k.removeprefix("fc.")], v) for k, v in top.items())


@given(st.sampled_from(sorted(PAIRS)), st.integers(0, 3))
def test_the_parts_are_the_same_behind_any_number_of_wrappers(kind, depth):
    first, second = PAIRS[kind]
    body, wrap = {"conv1.weight": torch.ones(1), "layer1.0.bn1.bias": torch.zeros(2)}, "module." * depth
    head = {"fc.0.weight": torch.ones(3)}
    state = under(wrap + first, body, head) | (under(wrap + second, body) if second else {})
    found = unpacked({"state_dict": state | {wrap + "queue": torch.ones(4)}})
    assert found.kind == kind
    assert found.online.keys() == body.keys() | head.keys()
    assert found.target.keys() == (body.keys() if second else set())
    assert list(found.others) == ["queue"]


@given(st.sampled_from(sorted(set(KINDS) - {"moco", "swav", "simclr", "supervised", "plain"})))
def test_a_format_that_a_file_does_not_have_is_refused(kind):
    file = {"state_dict": {"module.encoder_q.conv1.weight": torch.ones(1)}}
    with pytest.raises(UserError, match=f"it is no {kind} checkpoint"):
        unpacked(file, kind)


def test_a_format_can_be_given_where_a_file_has_two():
    file = {"state_dict": {"module.encoder_q.x": torch.zeros(1), "module.student.x": torch.ones(1)}}
    assert unpacked(file).online["x"] == 0
    assert unpacked(file, "seed").online["x"] == 1


def test_what_a_network_lacks_or_a_file_has_too_much_is_named(body, tmp_path):
    net, _ = backbone(ARCH)
    wrong = body | {"layer9.weight": torch.rand(3), "bn1.weight": torch.rand(3)}
    del wrong["bn1.bias"]
    torch.save({"state_dict": under("module.", wrong)}, tmp_path / "x.pth")
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(UserError, match=r"3 entries differ \(bn1.weight \(3,\) for .*layer9.weight unknown.*") as e:
        load_backbone(net, tmp_path / "x.pth")
    assert "bn1.bias missing" in str(e.value)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_counters_of_batchnorm_may_be_missing_as_in_old_library_files(body, tmp_path):
    torch.save({k: v for k, v in body.items() if "num_batches" not in k}, tmp_path / "x.pth")
    net, _ = backbone(ARCH)
    assert str(load_backbone(net, tmp_path / "x.pth")).startswith("plain checkpoint, ")


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v3_small", "vit_tiny_patch16_224"])
def test_a_librarys_classifier_stays_behind_and_is_listed(arch):
    with torch.device("meta"):
        theirs = models.get_model(arch) if arch in models.list_models() else timm.create_model(arch)
        take, left, wrong = fit(backbone(arch)[0], theirs.state_dict())
    assert (len(take), len(left), wrong) == (len(theirs.state_dict()) - 2, 2, [])


class Trap:
    """Would run a command where pickles are trusted."""

    def __reduce__(self):
        return (Path.touch, (Path("trapped"),))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not a checkpoint", "not a readable checkpoint"),
        ({"model": 3}, "holds no weights"),
        ([1, 2], "holds no weights"),
        (Trap(), "not a readable checkpoint"),
    ],
)
def test_files_that_hold_no_weights_are_refused(content, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.pth"
    made = io.BytesIO()
    if not isinstance(content, bytes):
        torch.save(content, made)
    path.write_bytes(content if isinstance(content, bytes) else made.getvalue())
    with pytest.raises(UserError, match=reason):
        read(path)
    assert not Path("trapped").exists()
    with pytest.raises(UserError, match="there is no checkpoint nowhere"):
        read(Path("nowhere"))


@pytest.fixture
def small():
    """MoCo on mobilenetv3_small with a wide head, and the SEED checkpoint that ssl-small starts it from."""
    student = encoder("mobilenetv3_small", "mlp", 128, seed=1)
    file = {"epoch": 5, "arch": "mobilenetv3_small", "state_dict": under(
        "module.student.", student.backbone.state_dict(), under("fc.", student.head.state_dict()))
        | {"module.teacher.conv1.weight": torch.rand(3), "module.queue": torch.rand(128, 32),
           "module.queue_ptr": torch.tensor([8])}}  # fmt: skip
    return MoCo(encoder("mobilenetv3_small", "wide", 128, seed=2), queue=32), student, file


def test_restart_takes_what_fits_and_says_what_does_not(small, tmp_path):
    """The last bias and the teacher's queue fit and are taken, as observed in the original."""
    moco, student, file = small
    statistics = {k: v.clone() for k, v in moco.target.named_buffers()}
    torch.save(file, tmp_path / "seed.pth.tar")
    loaded = restart(moco, tmp_path / "seed.pth.tar")
    own, theirs = moco.online.state_dict(), student.state_dict()
    taken = {k for k in own if own[k].shape == theirs[k].shape and torch.equal(own[k], theirs[k])}
    assert own.keys() - taken == {"head.0.weight", "head.0.bias", "head.2.weight"}
    assert [d.split()[0] for d in loaded.dropped] == [
        "fc.0.bias", "fc.0.weight", "fc.2.weight", "teacher.conv1.weight"
    ]  # fmt: skip
    for slow, fast in zip(moco.target.parameters(), moco.online.parameters(), strict=True):
        assert torch.equal(slow, fast)
    assert all(torch.equal(v, statistics[k]) for k, v in moco.target.named_buffers())
    assert torch.equal(moco.queue.rows, file["state_dict"]["module.queue"].T)
    assert int(moco.queue.head) == 8


def test_restart_with_another_queue_begins_at_its_start(small, tmp_path):
    moco, _, file = small
    rows = moco.queue.rows.clone()
    file["state_dict"]["module.queue"] = torch.rand(128, 64)
    file["state_dict"]["module.queue_ptr"] = torch.tensor([40])
    torch.save(file, tmp_path / "seed.pth.tar")
    loaded = restart(moco, tmp_path / "seed.pth.tar")
    assert torch.equal(moco.queue.rows, rows)
    assert int(moco.queue.head) == 0
    assert {"queue", "queue_ptr"} <= set(loaded.dropped)


def test_restart_needs_the_same_body(small, tmp_path):
    moco, _, file = small
    del file["state_dict"]["module.student.conv.0.weight"]
    torch.save(file, tmp_path / "seed.pth.tar")
    with pytest.raises(UserError, match=r"conv\.0\.weight missing"):
        restart(moco, tmp_path / "seed.pth.tar")


def test_restart_from_moco_keeps_the_key_encoders_statistics(tmp_path, body):
    statistics = noise(body)
    state = under("module.encoder_q.", body, mlp()) | under("module.encoder_k.", statistics, mlp())
    torch.save({"state_dict": state}, tmp_path / "moco.pth.tar")
    moco = MoCo(encoder(ARCH, "mlp", 8), dim=8, queue=16)
    restart(moco, tmp_path / "moco.pth.tar")
    for name, value in moco.target.backbone.state_dict().items():
        expected = statistics if "running" in name else body
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize("name", ["label_queue", "label_queue.rows", ""])
def test_labels_stay_beside_the_keys_they_came_with(name, body, tmp_path):
    """A queue of MoCo's has none: its keys are nobody's positives, and both queues go on at the same place."""
    rows, head = {"queue": torch.rand(8, 16)}, {"queue_ptr": torch.tensor([8])}
    if name == "label_queue.rows":
        rows, head = {"queue.rows": torch.rand(16, 8)}, {"queue.head": torch.tensor(8)}
    labels = {name: torch.arange(16)} if name else {}
    torch.save({"state_dict": under("module.encoder_q.", body, mlp()) | rows | head | labels}, tmp_path / "x.pth")
    kcl = KCL(encoder(ARCH, "mlp", 8), batch=4, dim=8, queue=16)
    loaded = restart(kcl, tmp_path / "x.pth")
    assert int(kcl.queue.head) == int(kcl.label_queue.head) == 8
    assert kcl.label_queue.rows.tolist() == (list(range(16)) if name else [-1] * 16)
    assert not loaded.dropped


def test_our_own_heads_are_found_under_fc(body):
    file = {"recipe": {"method": "moco"}, "method": under("online.backbone.", body)
            | {"online.head.0.weight": torch.ones(2), "target.backbone.x": torch.ones(1)}}  # fmt: skip
    assert "fc.0.weight" in unpacked(file).online


def test_a_predictor_behind_a_projector_is_left_out_and_listed(body):
    net = Encoder(backbone(ARCH)[0], nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 8)))
    take, left, wrong = fit(net, body | mlp() | {"fc.4.weight": torch.rand(3)})
    assert (len(take), left, wrong) == (len(body) + 4, ["fc.4.weight"], [])
