"""The programs for a GPU measure on a CPU what they would measure there, and keep what they have measured."""

import json

import pytest
import torch

from viewstream.tools.bench import gpu_steps
from viewstream.tools.bench.gpu import run_part
from viewstream.tools.bench.gpu_loaders import gap, rate
from viewstream.tools.bench.gpu_table import table

TINY = {"arch": "test_resnet", "size": 32, "batch": 16}


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here: `make gpu` would measure it")
def test_without_a_gpu_the_program_says_so_and_exits_with_2(program):
    done = program("tools/bench/gpu.py", "--part", "sync")
    assert done.returncode == 2
    assert done.stderr.startswith("error: torch finds no GPU")


@pytest.mark.parametrize("method", ["moco", "supervised"])
def test_steps_without_waiting_go_through_train(built, monkeypatch, method):
    monkeypatch.setattr(gpu_steps, "WARM", 2)
    monkeypatch.setattr(gpu_steps, "CHECKED", 3)
    monkeypatch.setattr(gpu_steps, "QUEUE", 64)
    found = gpu_steps.without_waiting(method, built.root, compiled=False, **TINY)
    assert found["steps"] == 6


def test_headspace_compares_with_the_ceiling_and_with_plain_steps(built, monkeypatch, capsys):
    monkeypatch.setattr(gpu_steps, "QUEUE", 64)
    monkeypatch.setitem(gpu_steps.BATCH, "test_resnet", 16)
    found = gpu_steps.headspace("moco", "test_resnet", built.root, size=32, steps=2)
    assert found["seconds"].keys() == {"resident", "cached", "loader"}
    assert found["reached"] == found["seconds"]["resident"] / found["seconds"]["loader"]
    assert found["over_plain"] > 0
    assert "-bound:" in capsys.readouterr().out


def test_a_path_with_the_pixels_of_the_cpu_has_no_gap_and_another_a_small_one(built):
    same = gap(built.root, {"loader": "ffcv", "crops": "host"}, size=32, batch=16)
    near = gap(built.root, {"loader": "webdataset", "crops": "device"}, size=32, batch=16)
    assert same == {"mean": 0.0, "p99": 0.0, "max": 0.0}
    assert 0 < near["mean"] < 0.5
    assert rate(built.root, {"loader": "webdataset"}, size=32, batch=16, batches=2)["samples_per_second"] > 0


def half():
    return {"checked": 50}


def broken():
    raise ValueError("no kernel")


def test_a_part_keeps_each_figure_and_runs_again_what_failed(tmp_path):
    path = tmp_path / "sync.json"
    assert not run_part({"moco, eager": half, "byol, eager": broken}, path, 5)
    assert json.loads(path.read_text()) == {
        "moco, eager": {"checked": 50},
        "byol, eager": {"error": "ValueError: no kernel"},
    }
    assert "* byol, eager: ValueError: no kernel" in table(tmp_path)
    assert run_part({"moco, eager": broken, "byol, eager": half}, path, 5)  # moco has its figure and is not run
    assert "| byol, eager | 50 |" in table(tmp_path)
    assert not run_part({"kcl, eager": half}, path, 0.1)
