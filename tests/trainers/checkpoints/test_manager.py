"""Which checkpoints a run writes, and when."""

import math
import os
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


def saved_step(path):
    return torch.load(path, weights_only=True)["step"]


def test_best_stays_the_checkpoint_with_the_highest_metric(tmp_path):
    checkpoints = manager(tmp_path)
    for step, metric in ((4, 0.5), (6, None), (8, 0.4), (12, 0.5), (16, 0.6), (20, None)):
        if metric is not None:
            checkpoints.report_metric(step, metric)
        checkpoints.save(step)
        assert saved_step(tmp_path / "last.pt") == step
        assert saved_step(tmp_path / "best.pt") == (4 if step < 16 else 16)


def test_a_file_kept_under_another_name_stays_when_a_killed_run_left_its_new_name_half_made(tmp_path):
    """A run killed between making the new name and renaming leaves `last.pt.partial`, the same file as best.pt."""
    checkpoints = manager(tmp_path)
    checkpoints.report_metric(4, 0.5)
    checkpoints.save(4)
    os.link(tmp_path / "best.pt", tmp_path / "last.pt.partial")
    checkpoints.save(8)
    assert (saved_step(tmp_path / "best.pt"), saved_step(tmp_path / "last.pt")) == (4, 8)


def test_a_run_killed_between_best_and_last_finds_its_best_again(tmp_path, monkeypatch):
    checkpoints = manager(tmp_path)
    checkpoints.report_metric(4, 0.5)
    checkpoints.save(4)
    checkpoints.report_metric(8, 0.6)
    with monkeypatch.context() as killed:
        killed.setattr(module, "link", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(8)
    again = manager(tmp_path)
    assert again.resume(tmp_path / "last.pt") == 4
    assert again.measured(4)
    assert again.best == 0.5
    again.report_metric(8, 0.6)
    again.save(8)
    assert saved_step(tmp_path / "best.pt") == saved_step(tmp_path / "last.pt") == 8


def test_the_best_value_survives_a_resume_in_its_folder_alone(tmp_path):
    checkpoints = manager(tmp_path / "run")
    (tmp_path / "run").mkdir()
    checkpoints.report_metric(4, 0.5)
    checkpoints.save(4)
    checkpoints.save(8)
    for folder, kept in (("new", False), ("run", True)):
        again = manager(tmp_path / folder)
        (tmp_path / folder).mkdir(exist_ok=True)
        assert again.resume(tmp_path / "run" / "last.pt") == 8
        again.report_metric(12, 0.4)
        again.save(12)
        assert (tmp_path / folder / "best.pt").exists()
        assert saved_step(tmp_path / folder / "best.pt") == (4 if kept else 12)


def test_a_metric_that_is_not_a_number_is_no_best(tmp_path):
    checkpoints = manager(tmp_path)
    for step, metric in ((4, 0.5), (8, math.nan), (12, 0.6)):
        checkpoints.report_metric(step, metric)
        checkpoints.save(step)
        assert saved_step(tmp_path / "best.pt") == (12 if step == 12 else 4)


def test_weights_that_are_not_finite_name_a_checkpoint_from_before_only_if_there_is_one(tmp_path):
    checkpoints = manager(tmp_path)
    weight = checkpoints.state.method.weight
    good = weight.detach().clone()
    weight.data.fill_(math.nan)
    with pytest.raises(UserError, match=r"after step 4: lower --lr$"):
        checkpoints.save(4)
    weight.data.copy_(good)
    checkpoints.save(4)
    weight.data.fill_(math.nan)
    with pytest.raises(UserError, match=r"after step 8: lower --lr; last.pt is from before$"):
        checkpoints.save(8)


def test_checkpoints_are_due_after_every_epoch_and_every_save_every_steps(tmp_path):
    assert [step for step in range(1, 13) if manager(tmp_path).due(step)] == [4, 8, 12]
    assert [step for step in range(1, 13) if manager(tmp_path, save_every=3).due(step)] == [3, 4, 6, 8, 9, 12]
