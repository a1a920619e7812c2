"""An image that an epoch shows again has other views each time, the same through every loader, rank and start."""

from contextlib import closing
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from viewstream.augment.draw import draw, user_keys
from viewstream.augment.recipes import moco_v2
from viewstream.pipeline import as_dataset
from viewstream.pipeline.batch import Batch
from viewstream.pipeline.choose import open_loader
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.plan.orders import Balanced
from viewstream.pipeline.plan.params import batch_params, replacements
from viewstream.testing import check_loader

from .adapters.ffcv_loaders import assert_same, kept, staged
from .dali.dali_loaders import assert_near, dali

FFCV = pytest.mark.skipif(not find_spec("ffcv"), reason="ffcv is not installed")
VIEWS = moco_v2(32)
EPOCH = 2
READERS = ["webdataset", "webdataset-stream", pytest.param("ffcv", marks=FFCV)]


@pytest.fixture(scope="module")
def rare(built):
    """24 images of one class and 3 of another."""
    rows = np.concatenate([(built.label == 0).nonzero()[0][:24], (built.label == 1).nonzero()[0][:3]])
    return built.take(rows, built.label[rows], built.info.classes[:2])


def plan_of(manifest, batch=12, world_size=1, rank=0):
    return Plan(len(manifest), batch, world_size, rank, 5, "pad", Balanced(manifest.label))


def shown(manifest, reader, plan, start=0, **options):
    with closing(open_loader(reader, manifest, plan, VIEWS, threads=2, **options)) as loader:
        return list(loader.epoch(EPOCH, start))


def joined(batches):
    return Batch(
        tuple(torch.cat(parts) for parts in zip(*(batch.views for batch in batches), strict=True)),
        torch.cat([batch.target for batch in batches]),
        torch.cat([batch.index for batch in batches]),
    )


def assert_equal(one, other, atol=0.0):
    assert torch.equal(one.index, other.index)
    for a, b in zip(one.views, other.views, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=atol)


@pytest.mark.parametrize("crops", ["host", "device"])
def test_a_balanced_epoch_has_as_many_views_as_showings(rare, crops):
    batch = joined(shown(rare, "folder", plan_of(rare), crops=crops))
    assert (batch.target == 1).sum() > 4 * (rare.label == 1).sum()
    for view in batch.views:
        assert len(view.flatten(1).unique(dim=0)) == len(batch.index)


@pytest.mark.parametrize("reader", READERS)
def test_a_repeated_image_has_the_same_views_through_every_reader(rare, reader):
    assert_equal(joined(shown(rare, reader, plan_of(rare))), joined(shown(rare, "folder", plan_of(rare))))


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_and_a_resume_show_the_views_of_one_process(rare, world_size):
    whole = shown(rare, "folder", plan_of(rare))
    ranks = [shown(rare, "folder", plan_of(rare, 12, world_size, rank), start=2) for rank in range(world_size)]
    for one, parts in zip(whole[2:], zip(*ranks, strict=True), strict=True):
        assert_equal(joined(parts), one, atol=1e-5)


def test_a_view_depends_on_how_often_the_epoch_showed_its_image_and_not_on_the_batch(rare):
    plans = [Plan(len(rare), batch, 1, 0, 5, order=Balanced(rare.label)) for batch in (4, 12)]
    fours, twelves = (joined(shown(rare, "folder", plan)) for plan in plans)
    first = Batch(tuple(view[:24] for view in fours.views), fours.target[:24], fours.index[:24])
    assert_equal(first, twelves)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.full)])
def test_a_dataloader_shows_the_views_of_our_loader(rare, workers):
    dataset, steps = as_dataset(rare, VIEWS, batch=12, seed=5, tail="pad", order=Balanced(rare.label))
    steps.set_epoch(EPOCH)
    loader = DataLoader(dataset, batch_sampler=steps, num_workers=workers)
    theirs = joined([Batch(*batch) for batch in loader])
    assert_equal(theirs, joined(shown(rare, "folder", plan_of(rare))), atol=1e-5)


@pytest.mark.skipif(not find_spec("ffcv"), reason="ffcv is not installed")
@pytest.mark.full
def test_the_loader_of_ffcv_shows_the_views_of_our_loader(rare):
    loader, order = staged(rare, VIEWS, plan_of(rare))
    for start in (0, 2):
        order.resume(EPOCH, start)
        theirs = kept(loader)
        assert_same(theirs, shown(rare, "folder", plan_of(rare), start))


@dali
def test_dali_shows_the_views_of_our_loader(rare):
    assert_near(shown(rare, "dali", plan_of(rare)), shown(rare, "folder", plan_of(rare)), VIEWS)


def test_a_loader_keeps_its_laws_under_an_order_that_repeats(rare):
    check_loader(lambda plan: open_loader("folder", rare, plan, VIEWS, threads=1), rare)


def test_a_damaged_image_gets_another_replacement_each_time_that_it_is_shown(built):
    rows, occurrence = np.full(8, 3), np.arange(8)
    found = replacements(built, rows, list(range(8)), 5, EPOCH, 0, occurrence)
    assert len(set(found.tolist())) > 4
    assert found[0] == replacements(built, rows[:1], [0], 5, EPOCH, 0)[0]


def test_the_first_showing_draws_as_without_repeats_and_later_ones_share_no_number_with_it(built):
    uid, hw = built.uid, built.hw
    key = {"seed": 1, "epoch": 2, "number": 0}
    first = draw(VIEWS[0], uid, hw, **key, occurrence=np.zeros(len(uid), np.int64))
    for ours, plain in zip(first, draw(VIEWS[0], uid, hw, **key), strict=True):
        assert all(np.array_equal(ours[name], plain[name]) for name in ours)
    keys = np.stack([user_keys(uid, **key, occurrence=k) for k in range(5)])
    assert len(np.unique(keys)) == keys.size
    one, two = (batch_params(built, VIEWS, np.arange(len(built)), 1, 2, occurrence=k).boxes for k in (1, 2))
    assert (one != two).any(axis=(1, 2)).all()
