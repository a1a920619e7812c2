"""The programs for a GPU measure on a CPU what they would measure there, and keep what they have measured."""

import json
import os
import sys
import time
from contextlib import suppress
from functools import partial

import pytest
import torch

from viewstream.shards.errors import UserError
from viewstream.tools.bench import gpu, gpu_steps, parts
from viewstream.tools.bench.apart import apart
from viewstream.tools.bench.gpu_loaders import gap, rate
from viewstream.tools.bench.gpu_table import table

TINY = {"arch": "test_resnet", "size": 32, "batch": 16}


def test_without_a_gpu_nothing_is_made(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--part", "sync", "--work", str(tmp_path / "work")])
    with pytest.raises(UserError, match="torch finds no GPU: run this on a machine with one"):
        gpu.main()
    assert not (tmp_path / "work").exists()


@pytest.mark.full
@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here: `make gpu` would measure it")
def test_without_a_gpu_the_program_says_so_and_exits_with_2(program):
    done = program("tools/bench/gpu.py", "--part", "sync")
    assert done.returncode == 2
    assert done.stderr.startswith("error: torch finds no GPU")


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=pytest.mark.full) if name != "supervised" else name for name in gpu.METHODS]
)
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


def test_a_case_runs_in_a_process_of_its_own_and_its_error_is_kept(cases):
    assert apart(cases.half, 60) == {"checked": 50}
    assert apart(cases.broken, 60) == {"error": "ValueError: no kernel"}
    assert apart(cases.dead, 60) == {"error": "the process died with code 3"}


@pytest.mark.full
def test_a_case_whose_time_is_over_ends_with_the_programs_that_it_started(cases, tmp_path):
    assert apart(partial(cases.long, tmp_path / "pid"), 20) == {"error": "not finished after 20 s"}
    pid = int((tmp_path / "pid").read_text())
    with suppress(ProcessLookupError):
        for _ in range(200):  # until its new parent has taken notice
            os.kill(pid, 0)
            time.sleep(0.05)
        pytest.fail(f"process {pid} goes on")


def test_a_part_keeps_each_figure_and_runs_again_what_failed(cases, tmp_path, monkeypatch):
    def at_once(case, seconds):
        try:
            return case()
        except ValueError as error:
            return {"error": f"ValueError: {error}"}

    monkeypatch.setattr(parts, "apart", at_once)
    path = tmp_path / "sync.json"
    assert not parts.run_part({"moco, eager": cases.half, "byol, eager": cases.broken}, path, 5)
    assert json.loads(path.read_text()) == {
        "moco, eager": {"checked": 50},
        "byol, eager": {"error": "ValueError: no kernel"},
    }
    assert "* byol, eager: ValueError: no kernel" in table(tmp_path)
    assert parts.run_part(
        {"moco, eager": cases.broken, "byol, eager": cases.half}, path, 5
    )  # moco has its figure and is not run
    assert "| byol, eager | 50 |" in table(tmp_path)
    assert not parts.run_part({"kcl, eager": cases.half}, path, 0.1)
