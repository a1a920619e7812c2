"""Checkpoints of strangers: one line for those that claim too much, nest without end or hold other things."""

import io
import pickle
import resource
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.tools.convert_checkpoint import Convert, convert
from viewstream.trainers.checkpoints.layouts import read
from viewstream.trainers.checkpoints.loading import load_backbone
from viewstream.trainers.checkpoints.restore import load_optimizer
from viewstream.trainers.checkpoints.restore import read as read_run
from viewstream.trainers.nets.encoder import backbone

from ...hostile.parsers import pickled
from .layouts import ARCH


@pytest.fixture(autouse=True)
def _within_memory() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # KB


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(path)
    return str(caught.value)


def test_a_packed_file_that_unpacks_to_far_more_is_refused_before_it_does(tmp_path):
    path = saved({"x": torch.zeros(3)}, tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as made, zipfile.ZipFile(path) as whole:
        for name in whole.namelist():
            with made.open(name, "w", force_zip64=True) as member:
                for _ in range(1 if "data/0" not in name else 500):
                    member.write(whole.read(name) if "data/0" not in name else bytes(1 << 20))
    assert "unpack to 524," in refusal(tmp_path / "bomb.pt")


class Tensor:
    """A tensor of 4 numbers that claims another shape."""

    def __init__(self, *lies: Any):
        self.lies = lies

    def __reduce__(self) -> Any:
        storage = "storage", torch.FloatStorage, "0", "cpu", 4
        return torch._utils._rebuild_tensor_v2, (storage, *self.lies, False, OrderedDict())


class Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj if isinstance(obj, tuple) and obj[:1] == ("storage",) else None


@pytest.mark.parametrize(
    "lies",
    [
        (0, (2**62,), (1,)),
        (0, (2**29,), (1,)),
        (0, (2**40,), (0,)),
        (0, (-4,), (1,)),
        (-4, (4,), (1,)),
        (2**40, (4,), (1,)),
        (0, (4,), (2**62,)),
    ],
)
def test_a_tensor_that_claims_more_than_its_bytes_is_one_line(lies, tmp_path):
    Pickler(file := io.BytesIO(), 2).dump({"state_dict": {"conv1.weight": Tensor(*lies)}})
    (tmp_path / "x.pt").write_bytes(pickled(file.getvalue()))
    refusal(tmp_path / "x.pt")


def test_content_without_end_is_one_line(tmp_path):
    circle: dict[str, Any] = {}
    circle["model"] = circle
    assert "nested" in refusal(saved(circle, tmp_path / "x.pt"))
    laughs: list[Any] = []
    for _ in range(40):
        laughs = [laughs, laughs]
    assert "no weights" in refusal(saved(laughs, tmp_path / "x.pt"))
    deep = b"}X\x05\0\0\0model" * 3000 + b"}" + b"s" * 3000
    for text in (deep, b"})" + b"\x85" * 100_000 + b"K\x01s"):  # tables, and a name
        (tmp_path / "x.pt").write_bytes(pickled(b"\x80\x02" + text + b"."))
        assert "nested" in refusal(tmp_path / "x.pt")


def test_a_list_of_a_long_array_is_not_made(tmp_path):
    text = b"\x80\x02cbuiltins\nlist\ncbuiltins\nbytearray\nJ\0\0\0\x04\x85R\x85R."  # 64 MiB, 512 as a list
    (tmp_path / "x.pt").write_bytes(pickled(text))
    assert "no weights" in refusal(tmp_path / "x.pt")


@pytest.mark.parametrize("strange", ["sparse", "meta"])
def test_a_tensor_that_is_not_its_bytes_is_refused(strange, tmp_path):
    value = torch.ones(4, 4).to_sparse() if strange == "sparse" else torch.ones(4, device="meta")
    assert "sparse, quantized or without data" in refusal(saved({"state_dict": {"x": value}}, tmp_path / "x.pt"))


ONE = {"conv1.weight": torch.ones(1)}
OWN = {"online.backbone.conv1.weight": torch.ones(1)}


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": ONE, "epoch": "x", "arch": ["y"]},
        {"state_dict": ONE, "epoch": float("inf")},
        {"state_dict": {"feat_model": 5, "classifier": 7}},
        {"state_dict": {"feat_model": {"a": 5}, "classifier": 7}},
        {"method": OWN, "recipe": [1]},
        {"method": OWN, "recipe": "x"},
        {"method": OWN, "classes": 5},
        {"state_dict": {"_conv_stem.weight": torch.ones(1), "_blocks.x.y.z": torch.ones(1), "_blocks.1": ONE}},
        {"state_dict": {"_conv_stem.weight": torch.ones(1), "_blocks.7._bn0.weight": torch.ones(1)}},
        {"state_dict": {"_conv_stem.weight": torch.ones(1), "_blocks.0._project_conv.weight": torch.tensor(1.0)}},
        {"state_dict": {"module.a": torch.ones(1), "a": torch.zeros(1)}},
        {"state_dict": {"conv1.weight": torch.ones(64, 3, 7, 7, dtype=torch.int32)}},
        {5: ONE, b"x": ONE, 10**5000: ONE},
    ],
    ids=lambda content: str(next(iter(content.values())))[:50],
)
def test_other_things_than_weights_are_one_line(content, tmp_path):
    with pytest.raises(UserError):
        load_backbone(backbone(ARCH)[0], saved(content, tmp_path / "x.pt"))
    with pytest.raises(UserError):
        convert(Convert(tmp_path / "x.pt", tmp_path / "y.pkl", "detectron2", arch=ARCH))


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("<Q", 2**62) + b'{"',
        b'{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}}',
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,17]}}',
        b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
        b'{"a":' + b"[" * 200_000,
    ],
    ids=["long", "shape", "end", "twice", "deep"],
)
def test_a_safetensors_file_that_claims_too_much_is_one_line(header, tmp_path):
    start = b"" if header[8:10] == b'{"' else struct.pack("<Q", len(header))
    (tmp_path / "x.safetensors").write_bytes(start + header + bytes(16))
    refusal(tmp_path / "x.safetensors")


def test_bfloat16_and_trained_parameters_are_converted_for_detectron2(tmp_path):
    net, _ = backbone("resnet50")
    state = {k: torch.nn.Parameter(v.bfloat16()) if v.is_floating_point() else v for k, v in net.state_dict().items()}
    convert(Convert(saved({"state_dict": state}, tmp_path / "x.pt"), tmp_path / "y.pkl", "detectron2", arch="resnet50"))
    found = pickle.loads((tmp_path / "y.pkl").read_bytes())["model"]["stem.conv1.weight"]
    assert found.dtype == np.float32
    assert np.array_equal(found, net.state_dict()["conv1.weight"].bfloat16().float())


RUN: dict[str, Any] = {"step": 1, "method": {}, "recipe": {}, "data": {}, "scaler": {}, "optimizer": {}}


@pytest.mark.parametrize("change", [{"step": "x"}, {"method": []}, {"recipe": 5}, {"world": 1.5}, {"best": "x"}])
def test_a_run_whose_checkpoint_has_parts_of_other_kinds_is_one_line(change, tmp_path):
    with pytest.raises(UserError, match=f"its {next(iter(change))} is no"):
        read_run(saved(RUN | change, tmp_path / "last.pt"))


def test_the_state_of_another_optimizer_is_refused_before_a_step():
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    weight.sum().backward()
    optimizer.step()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    whole = optimizer.state_dict()
    load_optimizer(optimizer, scaler, {"optimizer": whole, "scaler": {}})
    group = whole["param_groups"][0]
    for state, fault in (
        ({"state": whole["state"]}, "no groups"),
        (whole | {"param_groups": [group | {"params": [0, 1]}]}, "other weights"),
        (whole | {"param_groups": [group | {"lr": "x"}]}, "its lr is x"),
        (whole | {"state": {0: {"momentum_buffer": torch.ones(4)}}}, r"momentum_buffer has the shape \(4,\)"),
    ):
        with pytest.raises(ValueError, match=fault):
            load_optimizer(optimizer, scaler, {"optimizer": state, "scaler": {}})
