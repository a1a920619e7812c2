"""Orders other than the permutation keep their laws, and each plan of them is a pure function."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewstream.pipeline.plan.order import Plan, permutation
from viewstream.pipeline.plan.orders import Balanced, WindowShuffle, shuffle_quality
from viewstream.shards.errors import UserError

COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=8)
VERSIONS = st.sampled_from([1, 2])


def labels(counts, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))


def whole(order, seed, epoch):
    """The ids of an epoch."""
    return order(seed, epoch).at(np.arange(len(order))).rows


@given(counts=COUNTS, repeat=st.integers(1, 5), seed=st.integers(0, 99), version=VERSIONS)
def test_classes_come_once_per_cycle_and_images_once_per_pass_across_epochs(counts, repeat, seed, version):
    label = labels(counts, seed)
    order = Balanced(label, repeat, version)
    epochs = [whole(order, seed, epoch) for epoch in range(-1, 6)]
    assert all(len(ids) == len(label) for ids in epochs)
    drawn = np.concatenate(epochs)
    cycle = len(counts) * repeat
    for at in range(0, len(drawn) - cycle + 1, cycle):
        turns = label[drawn[at : at + cycle]].reshape(-1, repeat)
        assert (turns == turns[:, :1]).all()
        assert sorted(turns[:, 0]) == list(range(len(counts)))
    for name, count in enumerate(counts):
        mine = drawn[label[drawn] == name]
        for at in range(0, len(mine) - count + 1, count):
            assert len(set(mine[at : at + count])) == count


def test_balanced_orders_shuffle_classes_and_images_in_each_epoch():
    label = labels([40] * 10)
    one, two = (whole(Balanced(label), seed, 0) for seed in (0, 1))
    assert (one == two).mean() < 0.05
    turns = label[one].reshape(-1, 10)
    assert len(np.unique(turns, axis=0)) == len(turns)


def test_a_balanced_order_needs_an_image_of_each_class():
    with pytest.raises(UserError, match="class 1 has no image"):
        Balanced(np.array([0, 0, 2]))
    with pytest.raises(UserError, match="--bal-repeat 1 or more"):
        Balanced(np.array([0, 1]), repeat=0)


@given(
    counts=COUNTS,
    window=st.integers(1, 9),
    seed=st.integers(0, 99),
    epoch=st.integers(-1, 9),
    version=VERSIONS,
    built=st.booleans(),
)
def test_a_block_order_shows_each_id_once_and_never_leaves_its_block_of_shards(
    counts, window, seed, epoch, version, built
):
    shard = labels(counts, seed)
    if built:  # a build writes the samples of a shard one after another
        shard = np.sort(shard)
    ids = whole(WindowShuffle(shard, window, version), seed, epoch)
    assert sorted(ids) == list(range(len(shard)))
    last = {name: at for at, name in enumerate(shard[ids].tolist())}
    block: set[int] = set()
    for at, name in enumerate(shard[ids].tolist()):
        block.add(name)
        assert len(block) <= window
        if at == max(last[n] for n in block):  # none of these shards comes again
            block.clear()


def test_shuffle_quality_grows_with_the_window_up_to_that_of_a_permutation():
    shard = np.arange(20000) // 500
    scores = [shuffle_quality(whole(WindowShuffle(shard, window), 0, 0), shard, 100) for window in (1, 2, 8, 40)]
    assert scores == sorted(scores)
    assert scores[0] < 0.15
    assert scores[-1] == pytest.approx(1, abs=0.01)
    assert shuffle_quality(np.arange(20000), shard, 100) == 0
    assert shuffle_quality(permutation(20000, 0, 0), shard, 100) == pytest.approx(1, abs=0.01)


@given(samples=st.integers(1, 60), share=st.integers(1, 7), world_size=st.integers(1, 4))
def test_a_padded_epoch_shows_every_id_in_full_batches_and_begins_again_at_its_end(samples, share, world_size):
    plans = [Plan(samples, share * world_size, world_size, rank, tail="pad") for rank in range(world_size)]
    steps = [np.concatenate(parts) for parts in zip(*(plan.ids(3) for plan in plans), strict=True)]
    assert {len(ids) for ids in steps} == {share * world_size}
    ids, order = np.concatenate(steps), permutation(samples, 0, 3)
    assert len(steps) == len(plans[0]) == -(-samples // (share * world_size))
    np.testing.assert_array_equal(ids, np.resize(order, len(ids)))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kind", [WindowShuffle, Balanced])
@given(world_size=st.sampled_from([1, 2, 3, 6]), epoch=st.integers(-1, 5), start=st.integers(0, 4))
def test_ranks_gathered_in_order_are_the_plan_of_one_and_a_start_is_the_tail(kind, version, world_size, epoch, start):
    order = kind(labels([9, 3, 12]), 2, version)
    whole = list(Plan(24, 6, seed=3, order=order).ids(epoch))[start:]
    plans = [Plan(24, 6, world_size, rank, 3, order=order) for rank in range(world_size)]
    parts = list(zip(*(plan.ids(epoch, start) for plan in plans), strict=True))
    assert len(whole) == len(parts)
    for one, several in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, np.concatenate(several))
