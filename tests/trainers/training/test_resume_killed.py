"""A run that is killed, or ended by SIGTERM, and resumed goes on as if nothing had happened."""

import subprocess
import time

import pytest
import torch

from ..small_runs import SMALL_WORDS, WORDS, losses
from .resuming import assert_same, kill_at, reached, start

FULL = pytest.mark.full


@FULL
@pytest.mark.parametrize("name", WORDS)
def test_a_method_killed_in_mid_epoch_and_resumed_repeats_its_losses(program, words, tmp_path, name):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = program(*words(name, "--save-every", 2, "--out", whole))
    assert done.returncode == 0, done.stderr
    assert losses(whole).keys() == set(range(1, 13))
    kill_at(3, killed, words(name, "--save-every", 2, "--out", killed))
    assert 2 <= torch.load(killed / "last.pt", weights_only=True)["step"] < 12
    done = program(*words(name, "--save-every", 2, "--out", killed, "--resume", "auto"))
    assert done.returncode == 0, done.stderr
    assert_same(killed, whole)


@FULL
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_killed_in_mid_epoch_and_resumed_on_as_many_ranks_repeats_its_losses(program, built, tmp_path, ranks):
    command = ["trainers/train.py", "--loader", "webdataset", "--data", built.root, *SMALL_WORDS, "--save-every", 2]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert program(*command, "--out", whole, ranks=ranks).returncode == 0
    kill_at(3, killed, [*command, "--out", killed], ranks)
    assert 2 <= torch.load(killed / "last.pt", weights_only=True)["step"] < 12
    done = program(*command, "--out", killed, "--resume", "auto", ranks=ranks)
    assert done.returncode == 0, done.stderr
    assert_same(killed, whole)


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=FULL), pytest.param(2, marks=FULL)])
def test_sigterm_saves_and_ends_the_run(words, tmp_path, program, ranks):
    out = tmp_path / "run"
    long = words("moco", "--epochs", 500, "--out", out)
    running = start(long, ranks, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while running.poll() is None and not reached(out, 9):
        time.sleep(0.02)
    running.terminate()
    output, _ = running.communicate(timeout=60)
    if ranks == 1:  # torchrun itself ends with an error after SIGTERM
        assert running.returncode == 0
    assert "--resume auto continues" in output
    step = torch.load(out / "last.pt", weights_only=True)["step"]
    assert step == max(losses(out))
    done = program(*words("moco", "--epochs", 500, "--out", out, "--resume", "nowhere.pt"))
    assert done.returncode == 2
    again = torch.load(out / "last.pt", weights_only=True)
    assert again["step"] == step
