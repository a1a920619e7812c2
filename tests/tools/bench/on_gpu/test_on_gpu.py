"""What a GPU is measured with runs on a CPU too."""

import json

import pytest

from viewstream.tools.bench import gpu
from viewstream.tools.bench.on_gpu import steps
from viewstream.tools.bench.on_gpu.loaders import gap, rate
from viewstream.tools.bench.on_gpu.table import PLAIN, table

TINY = {"arch": "test_resnet", "size": 32, "batch": 16}


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=pytest.mark.full) if name != "supervised" else name for name in gpu.METHODS]
)
def test_steps_without_waiting_go_through_train(built, monkeypatch, method):
    monkeypatch.setattr(steps, "WARM", 2)
    monkeypatch.setattr(steps, "CHECKED", 3)
    monkeypatch.setattr(steps, "QUEUE", 64)
    found = steps.without_waiting(method, built.root, compiled=False, **TINY)
    assert found["steps"] == 6


def test_headspace_compares_with_the_ceiling_and_the_table_with_plain_steps(built, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(steps, "QUEUE", 64)
    monkeypatch.setitem(steps.BATCH, "test_resnet", 16)
    found = steps.headspace("moco", "test_resnet", built.root, size=32, steps=2)
    assert found["seconds"].keys() == {"resident", "cached", "loader"}
    assert found["reached"] == found["seconds"]["resident"] / found["seconds"]["loader"]
    assert "-bound:" in capsys.readouterr().out
    plain = steps.plain("moco", "test_resnet", built.root, size=32, steps=2)
    for figures, over in (({"a": found}, ""), ({"a": found, f"a{PLAIN}": plain}, "fp32")):
        (tmp_path / "train.json").write_text(json.dumps(figures))
        (row,) = [line for line in table(tmp_path).splitlines() if line.startswith("| a")]
        share = f"{plain['seconds'] / found['seconds']['resident']:.2f}" if over else ""
        assert row.split(" | ")[5] == share


def test_a_path_with_the_pixels_of_the_cpu_has_no_gap_and_another_a_small_one(built):
    same = gap(built.root, {"loader": "ffcv", "crops": "host"}, size=32, batch=16)
    near = gap(built.root, {"loader": "webdataset", "crops": "device"}, size=32, batch=16)
    assert same == {"mean": 0.0, "p99": 0.0, "max": 0.0}
    assert 0 < near["mean"] < 0.5
    assert rate(built.root, {"loader": "webdataset"}, size=32, batch=16, batches=2)["samples_per_second"] > 0
