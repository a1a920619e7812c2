"""`--profile` names what limits a step, from steps on resident, cached and loaded batches, and keeps nothing."""

import sys
import time
from contextlib import closing

import pytest
import torch

from viewstream.augment import moco_v2
from viewstream.augment.renderers import host
from viewstream.pipeline import Plan, open_loader
from viewstream.pipeline.batch import Batch
from viewstream.shards.errors import UserError
from viewstream.trainers import train
from viewstream.trainers.training.headspace import measured, profile
from viewstream.trainers.training.limits import Headspace
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
            time.sleep(0.3)  # more than other programs can take from a step
            views = tuple(torch.randn(16, 3, 32, 32) for _ in range(2))
            yield Batch(views, torch.zeros(16, dtype=torch.long), torch.arange(16))

    def close(self):
        pass


def test_a_loader_that_lets_steps_wait_is_seen(built):
    state = training_state(SMALL, Run(device="cpu"), built, torch.device("cpu"), fresh=True)
    found = measured(Stepper(state, SMALL, 6), Slow(), steps=3, rounds=1)
    assert found.waited >= 0.3
    assert found.reached < 1
    assert "cached" not in found.seconds  # it has no batches of the host to keep


def test_views_that_are_slow_to_render_are_no_waiting_for_data(built):
    def slow(*args):
        time.sleep(0.3)
        return host.render(*args)

    state = training_state(SMALL, Run(device="cpu"), built, torch.device("cpu"), fresh=True)
    with closing(open_loader("webdataset", built, Plan(len(built), 16), moco_v2(32), threads=1)) as loader:
        loader.render = slow
        found = measured(Stepper(state, SMALL, 6), loader, steps=2, rounds=1)
    assert max(found.lost, key=found.lost.__getitem__) == "rendering"


def test_full_memory_is_one_line_here_too_and_no_checkpoint_is_spoken_of(built, monkeypatch, tmp_path):
    def full(self, *_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Stepper, "step", full)
    run = Run(data=str(built.root), loader="webdataset", device="cpu", out=str(tmp_path), profile=2)
    (tmp_path / "last.pt").touch()
    with pytest.raises(UserError, match=r"take a smaller --batch-size, --precision bf16 or a smaller --size$"):
        profile(SMALL, run)


@pytest.mark.parametrize(
    ("trace", "words"), [("absent/trace.json", "No such file"), (".", "it is a folder")], ids=["absent", "a folder"]
)
def test_a_trace_that_cannot_be_written_is_an_error_before_the_first_step(built, monkeypatch, tmp_path, trace, words):
    monkeypatch.setattr(Stepper, "step", lambda *_: pytest.fail("took a step"))
    run = Run(data=str(built.root), loader="webdataset", device="cpu", profile=2, trace=str(tmp_path / trace))
    with pytest.raises(UserError, match=f"cannot be written .{words}"):
        profile(SMALL, run)
    assert not [*tmp_path.iterdir()]


def test_a_trace_without_steps_to_trace_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--method", "moco", "--trace", "trace.json"])
    with pytest.raises(UserError, match="--trace writes steps of --profile, which is not given: add --profile 20"):
        train.main()


@pytest.mark.full
def test_profile_prints_what_limits_and_writes_the_trace_and_nothing_else(program, built, tmp_path):
    words = ("--data", built.root, "--loader", "webdataset", "--out", tmp_path / "run", *SMALL_WORDS)
    trace = tmp_path / "trace.json"
    done = program("trainers/train.py", "--method", "moco", *words, "--profile", 2, "--trace", trace, "--ranks", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("-bound: ") == 1
    assert "convolution" in trace.read_text()
    assert not (tmp_path / "run").exists()
