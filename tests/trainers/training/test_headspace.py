"""`--profile` names what limits a step, from steps on resident, cached and loaded batches, and keeps nothing."""

import time

import pytest
import torch

from viewstream.pipeline.batch import Batch
from viewstream.trainers.training.headspace import Headspace, measured
from viewstream.trainers.training.loop import Stepper
from viewstream.trainers.training.options import Run
from viewstream.trainers.training.setup import training_state

from ..small_runs import SMALL, SMALL_WORDS


def test_the_largest_loss_names_the_remedy():
    def text(waited, **seconds):
        return str(Headspace(seconds, waited, batch=32, peak_gb=0.0))

    assert "step-bound: 1.00 of the ceiling" in text(0.0, resident=0.1, cached=0.1, loader=0.1)
    waiting = text(0.1, resident=0.1, cached=0.1, loader=0.2)
    assert "loader-bound: 0.50 of the ceiling; of a step's time: waiting 50.0%, rendering 0.0%, stolen 0.0%" in waiting
    assert "--loader dali" in waiting
    assert "views with fewer ops" in text(0.0, resident=0.1, cached=0.19, loader=0.2)
    assert "To go faster: fewer --workers" in text(0.01, resident=0.1, cached=0.1, loader=0.2)


class Slow:
    """A loader whose batches take their time."""

    def __len__(self):
        return 4

    def epoch(self, number, start=0):
        for _ in range(start, 4):
            time.sleep(0.05)
            views = tuple(torch.randn(16, 3, 32, 32) for _ in range(2))
            yield Batch(views, torch.zeros(16, dtype=torch.long), torch.arange(16))

    def close(self):
        pass


def test_a_loader_that_lets_steps_wait_is_seen(built):
    state = training_state(SMALL, Run(device="cpu"), built, torch.device("cpu"), fresh=True)
    found = measured(Stepper(state, SMALL, 6), Slow(), steps=3, rounds=1)
    assert found.waited >= 0.05
    assert found.reached < 1
    assert "cached" not in found.seconds  # it has no batches of the host to keep


@pytest.mark.full
def test_profile_prints_what_limits_and_writes_the_trace_and_nothing_else(program, built, tmp_path):
    words = ("--data", built.root, "--loader", "webdataset", "--out", tmp_path / "run", *SMALL_WORDS)
    trace = tmp_path / "trace.json"
    done = program("trainers/train.py", "--method", "moco", *words, "--profile", 2, "--trace", trace)
    assert done.returncode == 0, done.stderr
    assert "-bound: " in done.stdout
    assert "convolution" in trace.read_text()
    assert not (tmp_path / "run").exists()
