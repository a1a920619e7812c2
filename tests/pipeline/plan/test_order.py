"""Order is a pure function: each id once per epoch, at any world size, from any start."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewstream.pipeline.plan.order import Plan, permutation
from viewstream.shards.errors import UserError

SIZES = {
    "samples": st.integers(1, 300),
    "share": st.integers(1, 9),
    "world_size": st.integers(1, 5),
    "seed": st.integers(0),
}


def ranks(samples, share, world_size, seed, **more):
    return [Plan(samples, share * world_size, world_size, rank, seed % 2**62, **more) for rank in range(world_size)]


@given(**SIZES, epoch=st.integers(-1, 50))
def test_training_shows_each_id_at_most_once_in_equal_steps_on_every_rank(samples, share, world_size, seed, epoch):
    if samples < share * world_size:
        samples += share * world_size
    plans = ranks(samples, share, world_size, seed)
    seen = [list(plan.ids(epoch)) for plan in plans]
    assert {len(steps) for steps in seen} == {samples // (share * world_size)}
    assert all(len(ids) == share for steps in seen for ids in steps)
    ids = np.concatenate([i for steps in seen for i in steps])
    assert len(np.unique(ids)) == len(ids) == samples - samples % (share * world_size)
    assert 0 <= ids.min() <= ids.max() < samples


@given(**SIZES)
def test_evaluation_shows_each_id_exactly_once_over_all_ranks(samples, share, world_size, seed):
    plans = ranks(samples, share, world_size, seed, tail="exact")
    steps = [list(plan.ids(0)) for plan in plans]
    assert {len(s) for s in steps} == {len(plans[0])}
    assert sorted(np.concatenate([i for s in steps for i in s])) == list(range(samples))


@given(batch=st.sampled_from([4, 6, 12]), world_size=st.sampled_from([1, 2, 3, 6]), epoch=st.integers(-1, 5))
def test_gathering_the_ranks_in_order_gives_the_plan_of_one_rank(batch, world_size, epoch):
    if batch % world_size:
        return
    whole = list(Plan(50, batch, seed=3).ids(epoch))
    parts = zip(*(Plan(50, batch, world_size, rank, 3).ids(epoch) for rank in range(world_size)), strict=True)
    for one, several in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, np.concatenate(several))


@given(start=st.integers(0, 6), epoch=st.integers(-1, 5))
def test_an_epoch_from_a_start_is_the_tail_of_the_whole_epoch(start, epoch):
    plan = Plan(50, 8, 2, 1, 9)
    tail = list(plan.ids(epoch))[start:]
    for a, b in zip(tail, plan.ids(epoch, start), strict=True):
        np.testing.assert_array_equal(a, b)


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [permutation(1000, seed, epoch) for seed in (0, 1) for epoch in (-1, 0, 1)]
    for i, one in enumerate(orders):
        assert sorted(one) == list(range(1000))
        for other in orders[:i]:
            assert (one == other).mean() < 0.02


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ({"samples": 10, "batch": 16}, "exceeds the 10 samples"),
        ({"samples": 10, "batch": 5, "world_size": 2}, "2 equal parts"),
        ({"samples": 0, "batch": 5}, "empty"),
        ({"samples": 10, "batch": 0}, "give --batch-size 1 or more"),
        ({"samples": 10, "batch": 6, "world_size": 2, "parts": 2}, "--accumulate 2 does not divide a batch of 6 on 2"),
        ({"samples": 10, "batch": 6, "world_size": 2, "tail": "pad", "multiple": 3}, "a last batch of 3 cannot"),
    ],
)
def test_an_impossible_plan_is_refused(plan, reason):
    with pytest.raises(UserError, match=reason):
        Plan(**plan)


@given(**SIZES, parts=st.integers(1, 4), groups=st.integers(1, 9), epoch=st.integers(-1, 5), start=st.integers(0, 9))
def test_a_padded_epoch_shows_each_id_and_repeats_fewer_than_the_multiple_in_equal_parts(
    samples, share, world_size, seed, parts, groups, epoch, start
):
    """The multiple is that of supervised training: of ranks x parts and of groups that divide the batch."""
    multiple = math.lcm(world_size * parts, groups)
    batch = share * multiple
    plans = [Plan(samples, batch, world_size, r, seed % 2**62, "pad", None, parts, multiple) for r in range(world_size)]
    steps = [np.concatenate(ranks) for ranks in zip(*(plan.ids(epoch) for plan in plans), strict=True)]
    ids, lengths = np.concatenate(steps), [len(step) for step in steps]
    assert set(ids.tolist()) == set(range(samples))
    assert len(ids) - samples < multiple
    assert len(lengths) == len(plans[0]) == -(-samples // batch) * parts
    assert lengths[:-parts] == [batch // parts] * (len(lengths) - parts)
    assert len(set(lengths[-parts:])) == 1
    assert lengths[-1] <= batch // parts
    for plan in plans:
        assert [len(rows) * world_size for rows in plan.ids(epoch)] == lengths
        for whole, late in zip([*plan.ids(epoch)][start:], plan.ids(epoch, start), strict=True):
            np.testing.assert_array_equal(whole, late)
    np.testing.assert_array_equal(ids[samples:], np.resize(ids[:samples], len(ids))[samples:])
