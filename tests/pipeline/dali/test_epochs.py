"""Epochs of the DALI loader: from a start, over ranks, two at once."""

import threading

import numpy as np
import pytest
import torch

from viewstream.augment.recipes import evaluation, moco_v2
from viewstream.pipeline.loader import ViewLoader
from viewstream.pipeline.plan.order import Plan

from .dali_loaders import ON, Held, assert_near, assert_same, dali


@pytest.mark.parametrize("on", ON)
def test_an_epoch_from_a_start_is_the_tail_of_the_whole_epoch(make_loader, on):
    loader = make_loader(moco_v2(32), device=on)
    assert_same(loader.epoch(2, start=4), list(loader.epoch(2))[4:])
    assert list(loader.epoch(2, start=len(loader))) == []


@pytest.mark.parametrize("on", ON)
def test_an_evaluation_shows_each_image_once_though_a_rank_may_have_none(make_loader, built, on):
    views, seen = evaluation(32), []
    for rank in range(3):
        plan = Plan(len(built), 3 * 7, 3, rank, tail="exact")
        batches = list(make_loader(views, device=on, plan=plan).epoch(0))
        assert_near(batches, make_loader(views, ViewLoader, plan=plan).epoch(0), views)
        assert len(batches) == len(plan)
        seen += [i for batch in batches for i in batch.index.tolist()]
    assert len(batches[-1].index) == 0
    assert batches[-1].views[0].shape == (0, 3, 32, 32)
    assert sorted(seen) == list(range(len(built)))


@dali
def test_the_reader_gets_the_order_once_per_epoch(make_loader, built):
    with_rows = Held([built.path(row).read_bytes() for row in range(len(built))])
    plan = Plan(len(built), 16, world_size=2, rank=1, seed=5)
    loader = make_loader(evaluation(16), plan=plan, reader=with_rows)
    for _ in loader.epoch(0):
        break
    shown = torch.cat([batch.index for batch in loader.epoch(1, start=2)])
    first, second = with_rows.expected
    np.testing.assert_array_equal(first, np.concatenate(list(plan.ids(0))))
    np.testing.assert_array_equal(second, shown)


class Seen(Held):
    """Reports that a row is read."""

    def __init__(self, samples):
        super().__init__(samples)
        self.seen = threading.Event()

    def read(self, row):
        self.seen.set()
        return super().read(row)


@dali
def test_an_epoch_is_read_before_a_batch_is_asked_for(make_loader, built):
    reader = Seen([built.path(row).read_bytes() for row in range(len(built))])
    batches = make_loader(evaluation(16), reader=reader).epoch(0)
    assert reader.seen.wait(30)
    assert_near(batches, make_loader(evaluation(16), ViewLoader).epoch(0), evaluation(16))


@dali
def test_two_epochs_at_once_do_not_mix(make_loader):
    loader, views = make_loader(evaluation(32)), evaluation(32)
    one, two = zip(*zip(loader.epoch(0), loader.epoch(1), strict=True), strict=True)
    alone = make_loader(views, ViewLoader)
    assert_near(one, alone.epoch(0), views)
    assert_near(two, alone.epoch(1), views)
