"""`trainers/torchrun.py`: SIGTERM ends with one line and the checkpoint, a failure with words and code of its rank."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from .small_runs import losses

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("hanging.py")


@pytest.fixture
def start():
    """(words of the program) -> it on two ranks, just started."""
    started = []

    def call(*words):
        command = [sys.executable, "trainers/torchrun.py", "--standalone", "--nproc-per-node=2", *map(str, words)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment, **pipes))
        return started[-1]

    yield call
    for process in started:
        process.kill()


def test_sigterm_ends_two_ranks_with_one_line_and_the_checkpoint(start, words, tmp_path):
    out = tmp_path / "run"
    running = start(*words("moco", "--epochs", 500, "--out", out))
    while running.poll() is None and not ((out / "log.jsonl").exists() and losses(out)):
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    output, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors
    assert output.splitlines()[-1].startswith("stopped after step ")
    assert output.count("--resume auto continues") == 1
    assert "Traceback" not in errors
    assert "SignalException" not in errors
    assert torch.load(out / "last.pt", weights_only=True)["step"] == max(losses(out))


def test_a_mistake_has_the_code_and_the_words_of_the_program_alone(start, words, tmp_path):
    running = start(*words("moco", "--bn-groups", 3, "--out", tmp_path / "run"))
    errors = running.communicate(timeout=120)[1]
    assert running.returncode == 2
    assert all(line.startswith("error on rank ") for line in errors.splitlines())
    assert "choose --bn-groups" in errors


@pytest.mark.full
def test_a_rank_that_dies_is_named_with_its_signal(start, built, tmp_path):
    running = start(PROGRAM, "killed", built.root, "", tmp_path / "run", 0, 1)
    errors = running.communicate(timeout=120)[1]
    assert running.returncode == 128 + signal.SIGKILL
    assert errors.splitlines()[-1] == "error: rank 1 was ended by SIGKILL"
