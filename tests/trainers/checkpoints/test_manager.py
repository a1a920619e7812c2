"""Which checkpoints a run writes, and when; training goes on while a thread writes them."""

import errno
import io
import math
import os
import threading
from unittest.mock import Mock

import pytest
import torch
from torch import nn

from viewstream.shards.errors import UserError
from viewstream.trainers.checkpoints import manager as module
from viewstream.trainers.checkpoints.manager import CheckpointManager, TrainState


def manager(folder, **intervals):
    net = nn.Linear(2, 2)
    state = TrainState(net, torch.optim.SGD(net.parameters(), 0.1), torch.amp.GradScaler("cpu", enabled=False))
    return CheckpointManager(folder, state, {"recipe": {}, "data": {}}, per_epoch=4, **intervals)


def saved(checkpoints, step):
    """Save, and wait until the checkpoint is on disk."""
    checkpoints.save(step)
    checkpoints.finish()


def saved_step(path):
    return torch.load(path, weights_only=True)["step"]


def test_best_stays_the_checkpoint_with_the_highest_metric(tmp_path):
    checkpoints = manager(tmp_path)
    for step, metric in ((4, 0.5), (6, None), (8, 0.4), (12, 0.5), (16, 0.6), (20, None)):
        if metric is not None:
            checkpoints.report_metric(step, metric)
        saved(checkpoints, step)
        assert saved_step(tmp_path / "last.pt") == step
        assert saved_step(tmp_path / "best.pt") == (4 if step < 16 else 16)


def test_a_file_kept_under_another_name_stays_when_a_killed_run_left_its_new_name_half_made(tmp_path):
    """A run killed between making the new name and renaming leaves `last.pt.partial`, the same file as best.pt."""
    checkpoints = manager(tmp_path)
    checkpoints.report_metric(4, 0.5)
    saved(checkpoints, 4)
    os.link(tmp_path / "best.pt", tmp_path / "last.pt.partial")
    saved(checkpoints, 8)
    assert (saved_step(tmp_path / "best.pt"), saved_step(tmp_path / "last.pt")) == (4, 8)


def test_a_run_killed_between_best_and_last_finds_its_best_again(tmp_path, monkeypatch):
    checkpoints = manager(tmp_path)
    checkpoints.report_metric(4, 0.5)
    saved(checkpoints, 4)
    checkpoints.report_metric(8, 0.6)
    with monkeypatch.context() as killed:
        killed.setattr(module, "link", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            saved(checkpoints, 8)
    again = manager(tmp_path)
    assert again.resume(tmp_path / "last.pt") == 4
    assert again.measured(4)
    assert again.best == 0.5
    again.report_metric(8, 0.6)
    saved(again, 8)
    assert saved_step(tmp_path / "best.pt") == saved_step(tmp_path / "last.pt") == 8


def test_the_best_value_survives_a_resume_in_its_folder_alone(tmp_path):
    checkpoints = manager(tmp_path / "run")
    (tmp_path / "run").mkdir()
    checkpoints.report_metric(4, 0.5)
    saved(checkpoints, 4)
    saved(checkpoints, 8)
    for folder, kept in (("new", False), ("run", True)):
        again = manager(tmp_path / folder)
        (tmp_path / folder).mkdir(exist_ok=True)
        assert again.resume(tmp_path / "run" / "last.pt") == 8
        again.report_metric(12, 0.4)
        saved(again, 12)
        assert (tmp_path / folder / "best.pt").exists()
        assert saved_step(tmp_path / folder / "best.pt") == (4 if kept else 12)


def test_a_metric_that_is_not_a_number_is_no_best(tmp_path):
    checkpoints = manager(tmp_path)
    for step, metric in ((4, 0.5), (8, math.nan), (12, 0.6)):
        checkpoints.report_metric(step, metric)
        saved(checkpoints, step)
        assert saved_step(tmp_path / "best.pt") == (12 if step == 12 else 4)


def test_weights_that_are_not_finite_name_a_checkpoint_from_before_only_if_there_is_one(tmp_path):
    checkpoints = manager(tmp_path)
    weight = checkpoints.state.method.weight
    good = weight.detach().clone()
    weight.data.fill_(math.nan)
    with pytest.raises(UserError, match=r"after step 4: lower --lr$"):
        saved(checkpoints, 4)
    weight.data.copy_(good)
    saved(checkpoints, 4)
    weight.data.fill_(math.nan)
    with pytest.raises(UserError, match=r"after step 8: lower --lr; last.pt is from before$"):
        saved(checkpoints, 8)


def test_checkpoints_are_due_after_every_epoch_and_every_save_every_steps(tmp_path):
    assert [step for step in range(1, 13) if manager(tmp_path).due(step)] == [4, 8, 12]
    assert [step for step in range(1, 13) if manager(tmp_path, save_every=3).due(step)] == [3, 4, 6, 8, 9, 12]


class Slow:
    """`torch.save` that waits until `go` is set before it looks at the content; `done` says what it did."""

    def __init__(self):
        self.begun, self.go, self.done = threading.Event(), threading.Event(), []

    def __call__(self, content, file):
        self.begun.set()
        assert self.go.wait(30)
        torch.save(content, file)
        self.done.append(content["step"])


@pytest.fixture
def slow(monkeypatch):
    saving = Slow()
    monkeypatch.setattr(module, "save", saving)
    yield saving
    saving.go.set()


def train_on(checkpoints):
    """Change all that a step changes."""
    state = checkpoints.state
    state.method(torch.ones(3, 2)).sum().backward()
    state.optimizer.step()
    state.optimizer.param_groups[0]["lr"] *= 0.5
    checkpoints.metadata["recipe"]["lr"] = 7


def test_a_checkpoint_holds_the_state_of_its_step_though_training_goes_on_while_it_is_written(tmp_path, slow):
    checkpoints = manager(tmp_path)
    checkpoints.state.optimizer.param_groups[0]["momentum"] = 0.9
    train_on(checkpoints)
    at_once = io.BytesIO()
    torch.save(checkpoints._content(4), at_once)
    checkpoints.save(4)
    assert slow.begun.wait(30)
    train_on(checkpoints)
    checkpoints.report_metric(5, 0.5)
    slow.go.set()
    checkpoints.finish()
    now = io.BytesIO()
    torch.save(checkpoints._content(4), now)
    assert (tmp_path / "last.pt").read_bytes() == at_once.getvalue() != now.getvalue()


def test_while_a_checkpoint_is_written_the_one_before_is_whole(tmp_path, slow):
    slow.go.set()
    checkpoints = manager(tmp_path)
    saved(checkpoints, 4)
    slow.go.clear()
    slow.begun.clear()
    checkpoints.save(8)
    assert slow.begun.wait(30)
    assert (tmp_path / "last.pt.partial").exists()
    assert saved_step(tmp_path / "last.pt") == 4
    slow.go.set()
    checkpoints.finish()
    assert saved_step(tmp_path / "last.pt") == 8


def test_a_checkpoint_waits_for_the_one_before(tmp_path, slow):
    checkpoints = manager(tmp_path)
    checkpoints.save(4)
    assert slow.begun.wait(30)
    threading.Timer(0.05, slow.go.set).start()
    checkpoints.save(8)
    assert slow.done[:1] == [4]
    assert saved_step(tmp_path / "last.pt") in (4, 8)
    checkpoints.finish()
    assert slow.done == [4, 8]


@pytest.mark.parametrize("end", [None, UserError("the loss is nan"), KeyboardInterrupt()])
def test_a_run_ends_when_its_last_checkpoint_is_on_disk(tmp_path, slow, end):
    threads = set(threading.enumerate())

    def run():
        with manager(tmp_path) as checkpoints:
            checkpoints.save(4)
            assert slow.begun.wait(30)
            threading.Timer(0.05, slow.go.set).start()
            if end:
                raise end

    if end:
        with pytest.raises(type(end)):
            run()
    else:
        run()
    assert saved_step(tmp_path / "last.pt") == 4
    assert not [one for one in set(threading.enumerate()) - threads if not isinstance(one, threading.Timer)]


@pytest.fixture
def full(monkeypatch):
    """A disk without room."""
    monkeypatch.setattr(module, "save", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))


FULL_DISK = r"last.pt cannot be written \(No space left on device\): check free space and write permission, then start"


@pytest.mark.usefixtures("full")
def test_an_error_of_the_thread_comes_once_at_the_next_save_or_at_the_end(tmp_path):
    checkpoints = manager(tmp_path)
    checkpoints.save(4)
    with pytest.raises(UserError, match=FULL_DISK):
        checkpoints.save(8)
    checkpoints.finish()
    with pytest.raises(UserError, match=FULL_DISK), manager(tmp_path) as checkpoints:
        checkpoints.save(4)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("full")
def test_an_error_of_the_thread_is_a_note_where_another_one_ends_the_run(tmp_path, capsys):
    def run():
        with manager(tmp_path) as checkpoints:
            checkpoints.save(4)
            raise UserError("the loss is nan")

    with pytest.raises(UserError, match="the loss is nan"):
        run()
    assert "note: " in (shown := capsys.readouterr().err)
    assert "last.pt cannot be written (No space left on device)" in shown
