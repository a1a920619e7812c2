"""The next epoch is read while an epoch is saved and measured, also by a loader of the user."""

import os
import signal
import threading
from dataclasses import replace

import pytest
import torch
from torch import nn

from viewstream.pipeline.batch import Batch, SampleReader
from viewstream.pipeline.choose import open_reader
from viewstream.trainers.checkpoints.manager import CheckpointManager, TrainState
from viewstream.trainers.methods.moco import MoCo
from viewstream.trainers.training import optim
from viewstream.trainers.training.log import Log
from viewstream.trainers.training.loop import train
from viewstream.trainers.training.run import Run, pretrain

from ..small_runs import SMALL, losses


class Watched(SampleReader):
    """The set's own reader, which counts the reads of each epoch."""

    def __init__(self, manifest):
        self.inner, self.reads, self.read_one = open_reader("webdataset", manifest), [], threading.Event()

    def prefetch(self, rows):
        self.reads.append(0)
        self.read_one.clear()

    def read(self, row):
        self.reads[-1] += 1
        self.read_one.set()
        return self.inner.read(row)

    def locate(self, row):
        return self.inner.locate(row)

    def close(self):
        self.inner.close()


@pytest.fixture
def reader(built):
    return Watched(built)


@pytest.fixture
def train_watched(built, reader, tmp_path):
    """Trains SMALL, two epochs of six steps, through the watched reader."""

    def call():
        run = Run(data=str(built.root), out=str(tmp_path / "run"), device="cpu", log_every=1)
        return pretrain(SMALL, run, reader=reader)

    return call


def test_the_next_epoch_is_read_during_a_save_and_the_losses_stay(train_watched, reader, first, monkeypatch):
    save, epochs = CheckpointManager.save, []

    def saving(self, step):
        epochs.append(len(reader.reads))
        if step == 6:
            assert reader.read_one.wait(30)
        save(self, step)

    monkeypatch.setattr(CheckpointManager, "save", saving)
    folder = train_watched()
    assert epochs == [2, 2]  # during the save of the first epoch and of the last
    assert reader.reads == [96, 96]
    assert losses(folder) == losses(first)


def test_a_run_that_stops_at_the_end_of_an_epoch_leaves_no_thread(train_watched, reader, monkeypatch):
    step, threads = Log.step, threading.active_count()

    def stopping(self, number, *rest, **more):
        if number == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        step(self, number, *rest, **more)

    monkeypatch.setattr(Log, "step", stopping)
    folder = train_watched()
    assert torch.load(folder / "last.pt", weights_only=True)["step"] == 6
    assert len(reader.reads) == 2
    assert threading.active_count() == threads


class Events:
    """A loader with `epoch` alone, as a user may write it, and a validator; `seen` says what was asked of them."""

    def __init__(self):
        self.seen = []

    def __len__(self):
        return 2

    def epoch(self, number, start=0):
        self.seen.append(f"epoch {number} from {start}")
        return iter([self.batch(step) for step in range(start, 2)])

    def batch(self, step):
        views = torch.randn(2, 8, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        return Batch(tuple(views), torch.arange(8), torch.arange(8))

    def due(self, epoch):
        return True

    def measure(self):
        self.seen.append("measure")
        return {"knn": 0.5}


def test_a_loader_of_the_user_is_asked_for_an_epoch_before_the_one_before_is_measured(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 8))
    moco = MoCo(net, dim=8, queue=16, momentum=0.9, temperature=0.2, bn_groups=1)
    state = TrainState(moco, optim.sgd(moco, 0.1, 0.9, 1e-4), torch.amp.GradScaler("cpu", enabled=False))
    recipe, events = replace(SMALL, epochs=3, batch_size=8), Events()
    log = Log(tmp_path, range(1, 6), batch=8, every=1)
    checkpoints = CheckpointManager(tmp_path, state, {}, per_epoch=2)
    with checkpoints:
        assert train(recipe, events, checkpoints, log, events, step=1) == 6
        after = ["epoch 1 from 0", "measure", "epoch 2 from 0", "measure", "measure"]
        assert events.seen == ["epoch 0 from 1", *after]
        assert train(recipe, events, checkpoints, log, events, step=6) == 6  # a run that has ended
    assert events.seen[6:] == []
