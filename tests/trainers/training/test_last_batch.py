"""Supervised training keeps an epoch's last, smaller batch: every image counts, on any ranks and in any parts."""

from contextlib import closing
from dataclasses import replace

import pytest
import torch
from torch import nn

from viewstream.trainers.nets.grouped_norm import grouped
from viewstream.trainers.recipes.options import BYOL, Supervised
from viewstream.trainers.training import setup
from viewstream.trainers.training.log import Log
from viewstream.trainers.training.optim import schedule
from viewstream.trainers.training.options import Run
from viewstream.trainers.training.run import pretrain
from viewstream.trainers.training.setup import training_loader, training_plan

from ..small_runs import COMMON, losses

FULL = pytest.mark.full
SMALL = Supervised(**COMMON | {"batch_size": 20}, views="supervised", bn_groups=2)  # 96 images: 16 are left


def shown(recipe, data):
    with closing(training_loader(recipe, Run(loader="folder"), data, torch.device("cpu"))) as loader:
        return [batch.index for batch in loader.epoch(0)]


def test_every_image_is_shown_and_the_last_batch_holds_what_is_left(built):
    assert [len(rows) for rows in shown(SMALL, built)] == [20] * 4 + [16]
    assert torch.cat(shown(SMALL, built)).unique().tolist() == list(range(96))
    assert [len(rows) for rows in shown(replace(SMALL, accumulate=2), built)] == [10] * 8 + [8] * 2
    one_view = BYOL(**COMMON | {"batch_size": 20}, views="byol")
    assert [len(rows) for rows in shown(one_view, built)] == [20] * 4  # other methods drop it


@pytest.mark.parametrize(
    ("samples", "ranks", "options", "last"),
    [
        (101, 1, {"bn_groups": 4}, 8),
        (101, 1, {"bn_groups": 1}, 5),
        (101, 2, {"bn_groups": 2, "accumulate": 2}, 8),
        (97, 1, {"bn_groups": 1}, 2),  # one image has no statistics
        (97, 1, {"bn_groups": 1, "trained": "classifier"}, 1),  # and needs none here
        (98, 4, {"bn_groups": 4}, 8),
        (98, 4, {"bn_groups": 4, "trained": "classifier"}, 4),
        (96, 4, {"bn_groups": 4}, 16),
    ],
)
def test_the_last_batch_is_filled_for_ranks_parts_and_groups(built, monkeypatch, samples, ranks, options, last):
    monkeypatch.setattr(setup, "world_size", lambda: ranks)
    rows = torch.arange(samples).numpy() % len(built)
    data = built.take(rows, built.label[rows], built.info.classes)
    recipe = replace(SMALL, batch_size=16, **options)
    plan = training_plan(recipe, data)
    assert [len(ids) for ids in plan.ids(0)][-1] * ranks * recipe.accumulate == last


@pytest.mark.parametrize(("rows", "groups", "sizes"), [(16, 8, [2] * 8), (8, 8, [2] * 4), (3, 8, [3]), (5, 2, [3, 2])])
def test_no_group_of_batchnorm_statistics_has_one_row(rows, groups, sizes):
    x = torch.randn(rows, 3)
    y = grouped(nn.Sequential(nn.BatchNorm1d(3)), groups)(x)
    assert y.isfinite().all()
    assert y.equal(torch.cat([nn.BatchNorm1d(3)(part) for part in x.split(sizes)]))


def test_a_batch_in_parts_without_batchnorm_gives_the_losses_of_the_whole(run, moco):
    probe = replace(SMALL, trained="classifier")
    whole = run("whole", probe, pretrained=str(moco / "last.pt"))
    parts = run("parts", replace(probe, accumulate=2), pretrained=str(moco / "last.pt"))
    assert len(losses(parts)) == len(losses(whole)) == 10
    assert losses(parts) == pytest.approx(losses(whole), abs=1e-5)


def test_a_rate_that_changes_by_the_step_reaches_zero_with_the_last_batch(built):
    recipe = replace(SMALL, schedule="warmcos", warmup_epochs=1)
    per_epoch = len(training_plan(recipe, built))
    rate = schedule(recipe, per_epoch)
    assert per_epoch == 5
    assert rate(2 * per_epoch - 1) > rate(2 * per_epoch) == pytest.approx(0)


def test_a_run_stopped_before_the_last_batch_and_resumed_repeats_its_losses(run, monkeypatch):
    whole = run("whole", SMALL)
    with monkeypatch.context() as patch:

        def step(self, step, *args, inner=Log.step, **more):
            self.stop = step == 4  # as on SIGTERM
            inner(self, step, *args, **more)

        patch.setattr(Log, "step", step)
        stopped = run("stopped", SMALL)
    assert losses(stopped).keys() == set(range(1, 5))
    run("stopped", SMALL, resume="auto")
    assert losses(stopped) == losses(whole)


def train(data, out, accumulate):
    recipe = replace(SMALL, lr=0.001, schedule="cos", accumulate=accumulate)
    pretrain(recipe, Run(data=data, loader="folder", device="cpu", log_every=1, out=out))


@pytest.mark.parametrize("accumulate", [1, pytest.param(2, marks=FULL)])
def test_two_ranks_follow_one_through_the_last_batch(on_ranks, built, tmp_path, accumulate):
    train(str(built.root), str(tmp_path / "one"), accumulate)
    on_ranks(train, 2, str(built.root), str(tmp_path / "two"), accumulate)
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert one.keys() == two.keys()
    assert [*two.values()] == pytest.approx([*one.values()], abs=3e-5)
