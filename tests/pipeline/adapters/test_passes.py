"""Each pass over the sampler is of the next epoch, in loops of any project."""

import itertools

import pytest
import torch
from torch.utils.data import DataLoader

from viewstream.augment.recipes import evaluation, moco_v2
from viewstream.pipeline import as_dataset
from viewstream.pipeline.plan.order import Plan

FULL = pytest.mark.full


def epochs_of(steps, passes):
    """The epochs of the addresses of each pass."""
    return [{at[0] for batch in steps for at in batch} for _ in range(passes)]


def test_a_loop_that_names_no_epoch_sees_a_new_one_in_each_pass(built):
    dataset, steps = as_dataset(built, evaluation(16), batch=16, seed=5)
    loader, plan = DataLoader(dataset, batch_sampler=steps), Plan(len(built), 16, seed=5)
    for epoch in range(3):
        rows = [index.tolist() for _, _, index in loader]
        assert rows == [ids.tolist() for ids in plan.ids(epoch)]
        assert steps.epoch == epoch


def test_the_epoch_that_is_named_wins_and_the_next_pass_follows_it(built):
    _, steps = as_dataset(built, moco_v2(32), batch=16)
    steps.set_epoch(7)
    assert epochs_of(steps, 2) == [{7}, {8}]
    steps.set_epoch(7)
    steps.set_epoch(3)
    assert epochs_of(steps, 1) == [{3}]


def test_a_pass_that_was_broken_off_is_not_repeated_and_a_resumed_one_is_followed_by_a_whole_one(built):
    _, steps = as_dataset(built, moco_v2(32), batch=16)
    broken = [next(iter(steps))[0][0] for _ in range(3)]
    assert broken == [0, 1, 2]
    steps.resume(epoch=5, step=4)
    assert [len(list(steps)), steps.epoch] == [2, 5]
    assert [len(list(steps)), steps.epoch] == [6, 6]


def test_the_sampler_has_what_other_loops_ask_a_batch_sampler_for(built):
    _, steps = as_dataset(built, moco_v2(32), batch=32, world_size=2)
    assert steps.sampler is steps
    assert steps.batch_size == 16
    assert not hasattr(steps, "drop_last")  # with it Lightning would make a sampler of its own for predictions


@pytest.mark.full
def test_workers_that_stay_see_a_new_epoch_in_each_pass(built):
    dataset, steps = as_dataset(built, moco_v2(32), batch=16)
    loader = DataLoader(dataset, batch_sampler=steps, num_workers=2, persistent_workers=True)
    for epoch, pass_ in enumerate(itertools.repeat(loader, 3)):
        for views, _, index in pass_:
            row = int(index[0])
            torch.testing.assert_close(views[0][0], dataset[epoch, row][0][0], rtol=0, atol=1e-5)


def test_timms_loader_shows_the_views_of_the_epoch_that_was_set(built):
    data = pytest.importorskip("timm.data", reason="timm is not installed")
    dataset, _ = as_dataset(built, moco_v2(32), batch=16)
    loader = data.create_loader(dataset, 32, 16, is_training=True, num_workers=0, use_prefetcher=False)
    orders = []
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        (one, two), target, index = next(iter(loader))
        orders.append(index.tolist())
        views, label, _ = dataset[epoch, orders[-1][0]]
        assert torch.equal(one[0], views[0])
        assert torch.equal(two[0], views[1])
        assert target[0] == label
    assert orders[0] != orders[1]
    with pytest.raises(RuntimeError, match="can't be cast"):  # its prefetcher takes bytes
        next(iter(data.create_loader(dataset, 32, 16, is_training=True, num_workers=0, device=torch.device("cpu"))))
