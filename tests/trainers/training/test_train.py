"""Training through the command line and the library: every loader, real photographs, seeds, validation."""

import json
import tarfile
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from viewstream.pipeline.batch import Batch
from viewstream.shards.building.build import BuildOptions, build
from viewstream.trainers.checkpoints.manager import CheckpointManager, TrainState
from viewstream.trainers.methods.moco import MoCo
from viewstream.trainers.training import optim
from viewstream.trainers.training.log import Log
from viewstream.trainers.training.loop import train
from viewstream.trainers.training.run import Run, pretrain

from ..small_runs import SMALL, SMALL_WORDS, losses, rows

FFCV = pytest.mark.skipif(not find_spec("ffcv"), reason="ffcv is not installed")
FULL = pytest.mark.full


@pytest.mark.parametrize(
    ("loader", "ranks"),
    [
        pytest.param("ffcv", 1, marks=[FFCV, FULL]),
        pytest.param("webdataset", 2, marks=FULL),
        ("folder", 1),
        pytest.param("folder", 2, marks=FULL),
        pytest.param("webdataset", 1, marks=FULL),
        pytest.param("ffcv", 2, marks=[FFCV, FULL]),
        *(pytest.param("memory", n, marks=FULL) for n in (1, 2)),
    ],
)
def test_the_command_line_trains_through_every_loader(program, built, first, tmp_path, loader, ranks):
    out = tmp_path / "run"
    where = ("--loader", loader, "--data", built.root, "--out", out)
    done = program("trainers/train.py", "--method", "moco", *where, *SMALL_WORDS, ranks=ranks)
    assert done.returncode == 0, done.stderr
    loss, reference = losses(out), losses(first)
    assert loss.keys() == reference.keys() == set(range(1, 13))
    assert loss[1] == pytest.approx(reference[1], abs=1e-4)  # same images, same draws, same weights, same groups
    assert loss[2] == pytest.approx(reference[2], abs=1e-3)
    assert (out / "last.pt").exists()
    assert json.loads((out / "config.json").read_text())["recipe"]["arch"] == "test_resnet"


@pytest.fixture(scope="module")
def real(shared, tmp_path_factory):
    """500 photographs of ImageNet in all three formats."""
    root = tmp_path_factory.mktemp("real")
    with tarfile.open(shared / "data" / "imagenet-sample.tar") as archive:
        archive.extractall(root / "imagenet")  # Python 3.11.2 has no argument `filter`
    forms = ("webdataset", "ffcv", "folder")
    return build(BuildOptions(source=root / "imagenet", out=root / "set", format=forms, max_side=128, workers=1))


@pytest.mark.parametrize(
    ("loader", "ranks"),
    [pytest.param("webdataset", 2, marks=FULL)]
    + [pytest.param("ffcv", n, marks=[FFCV, FULL]) for n in (1, 2)]
    + [pytest.param(loader, n, marks=FULL) for loader, n in (("webdataset", 1), ("folder", 1), ("folder", 2))],
)
def test_real_photographs_train_through_the_command_line(program, real, tmp_path, loader, ranks):
    where = ("--data", real.root, "--loader", loader, "--device", "cpu", "--log-every", 1, "--out", tmp_path / "run")
    sizes = (*SMALL_WORDS[:4], "--epochs", 1, "--batch-size", 64, "--queue", 128)
    done = program("trainers/train.py", *where, *sizes, ranks=ranks)
    assert done.returncode == 0, done.stderr
    assert list(losses(tmp_path / "run")) == list(range(1, 8))


def test_the_same_seed_repeats_the_losses_and_another_seed_changes_them(built, first, tmp_path):
    run = Run(data=str(built.root), loader="folder", out=str(tmp_path / "a"), device="cpu", log_every=1)
    again = pretrain(SMALL, run)
    other = pretrain(replace(SMALL, seed=1), replace(run, out=str(tmp_path / "b")))
    assert losses(again) == losses(first)
    assert losses(other)[1] != losses(first)[1]


class Patterns:
    """A Loader of 256 fixed patterns; each view is a noisy copy, which contrastive learning can surely match."""

    def __len__(self):
        return 8

    def epoch(self, number, start=0):
        patterns = torch.randn(256, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        for step in range(start, len(self)):
            noise = torch.Generator().manual_seed(1 + number * len(self) + step)
            ids = torch.arange(step * 32, step * 32 + 32)
            views = [patterns[ids] + 0.5 * torch.randn(32, 3, 8, 8, generator=noise) for _ in range(2)]
            yield Batch(tuple(views), ids, ids)


def test_the_loss_falls_on_learnable_data(tmp_path):
    recipe = replace(SMALL, epochs=12, batch_size=32, lr=0.1, schedule="step", milestones=())
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))
    moco = MoCo(net, dim=32, queue=128, momentum=0.9, temperature=0.2, bn_groups=2)
    log = Log(tmp_path, range(96), batch=32, every=1)
    state = TrainState(moco, optim.sgd(moco, 0.1, 0.9, 1e-4), torch.amp.GradScaler("cpu", enabled=False))
    train(recipe, Patterns(), CheckpointManager(tmp_path, state, {}, per_epoch=8), log)
    loss = losses(tmp_path)
    early, late = (sum(loss[s] for s in range(at, at + 8)) / 8 for at in (9, 89))
    assert late < 0.8 * early < 0.8 * 4.86  # ln(129): the loss of guessing


def test_knn_between_epochs_is_logged_and_changes_no_loss(built, built_val, first, tmp_path):
    sets = {"data": str(built.root), "val": str(built_val.root), "loader": "webdataset"}
    intervals = {"log_every": 1, "eval_every": 1, "knn_k": 5}
    folder = pretrain(SMALL, Run(**sets, **intervals, out=str(tmp_path / "run"), device="cpu"))
    assert [row["epoch"] for row in rows(folder) if "knn" in row] == [0, 1]
    assert losses(folder) == losses(first)
