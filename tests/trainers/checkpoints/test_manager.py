"""Which checkpoints a run writes, and when."""

import torch
from torch import nn

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
            checkpoints.report_metric(metric)
        checkpoints.save(step)
        assert saved_step(tmp_path / "last.pt") == step
        assert saved_step(tmp_path / "best.pt") == (4 if step < 16 else 16)


def test_checkpoints_are_due_after_every_epoch_and_every_save_every_steps(tmp_path):
    assert [step for step in range(1, 13) if manager(tmp_path).due(step)] == [4, 8, 12]
    assert [step for step in range(1, 13) if manager(tmp_path, save_every=3).due(step)] == [3, 4, 6, 8, 9, 12]
