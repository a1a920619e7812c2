"""The keyed permutation: a bijection at every size, as even as a shuffle, the same through numba and numpy."""

from math import factorial, sqrt

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from viewstream.augment.draw import hashed
from viewstream.pipeline.plan import bijection
from viewstream.pipeline.plan.bijection import SMALL, scattered
from viewstream.pipeline.plan.order import permutation


@given(size=st.integers(1, 5000), seed=st.integers(0), epoch=st.integers(-1, 500))
@example(size=1001, seed=0, epoch=0)
@example(size=SMALL, seed=0, epoch=0)
@example(size=SMALL + 1, seed=0, epoch=0)
@example(size=4**6, seed=0, epoch=0)
@example(size=4**6 + 1, seed=0, epoch=0)
@example(size=4**8 + 1, seed=0, epoch=0)
def test_every_id_has_one_position(size, seed, epoch):
    ids = permutation(size, seed % 2**62, epoch)
    assert ids.dtype == np.int64
    np.testing.assert_array_equal(np.sort(ids), np.arange(size))


@given(
    sizes=st.lists(st.one_of(st.integers(1, 20), st.integers(1, 10**9)), min_size=1, max_size=40),
    seed=st.integers(0, 999),
)
@example(sizes=[1], seed=0)
@example(sizes=[4**15, 4**15 + 1, SMALL, SMALL + 1, 2, 1], seed=0)
def test_numba_and_numpy_compute_the_same_ids(sizes, seed):
    size, key = np.array(sizes), hashed(seed, np.arange(len(sizes)))
    position = np.random.default_rng(seed).integers(0, size)
    for args in ((position, size, key), (position % size.min(), int(size.min()), key[:1])):
        ours = scattered(*args)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bijection, "NUMBA", False)
            np.testing.assert_array_equal(ours, scattered(*args))


def test_no_positions_have_no_ids():
    assert scattered(np.empty(0, np.int64), 10, hashed(0)).shape == (0,)


def orders(size, keys):
    """The permutations of `size` ids for `keys` keys, [keys, size]."""
    position, key = np.tile(np.arange(size), keys), np.repeat(hashed(1, np.arange(keys)), size)
    return scattered(position, size, key).reshape(keys, size)


def deviation(counts):
    """How far counts that should be equal are from that by their chi-square, in standard deviations."""
    counts, cells = np.asarray(counts, float).ravel(), np.size(counts)
    expected = counts.sum() / cells
    return (((counts - expected) ** 2 / expected).sum() - (cells - 1)) / sqrt(2 * (cells - 1))


@pytest.mark.parametrize("size", [3, 5, 10, 16, 17, 64, 100, SMALL, SMALL + 1, 4096])
def test_over_many_keys_each_id_is_as_likely_at_each_position_and_after_each_other(size):
    """The last is where a network of few rounds shows first: two neighbors differ in one bit of one half."""
    ids = orders(size, min(20000, 2_000_000 // size))
    at = np.stack([np.bincount(column, minlength=size) for column in ids[:, : min(size, 64)].T])
    assert deviation(at[0]) < 4.5
    assert deviation(at) < 4.5
    assert deviation(np.bincount((np.diff(ids) % size).ravel(), minlength=size)[1:]) < 4.5


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
def test_over_many_keys_each_order_of_a_few_ids_is_as_likely(size):
    """Also those that an odd number of exchanges leads to, which no Feistel network alone reaches."""
    ids = orders(size, 40000)
    codes = np.unique(ids @ size ** np.arange(size), return_counts=True)[1]
    assert len(codes) == factorial(size)
    assert deviation(codes) < 4.5


@pytest.mark.parametrize("size", [SMALL, SMALL + 1, 4**8, 300_000])
def test_neighbors_are_as_far_apart_as_in_a_shuffle(size):
    """Two random ids differ by a third of the set; the standard error of the mean is about 0.24 / sqrt(size)."""
    ids = permutation(size, 3, 5)
    assert abs(np.abs(np.diff(ids)).mean() / size - 1 / 3) < 4 * 0.25 / sqrt(size)
    assert abs(np.corrcoef(np.arange(size), ids)[0, 1]) < 4 / sqrt(size)


@pytest.mark.parametrize("classes", [8, 64])
def test_batches_mix_the_classes_of_a_sorted_set_as_a_shuffle_does(classes):
    """The count of a class in a batch of B has the variance B p (1 - p) (1 - B / N)."""
    samples, batch = 4**9 - 12345, 256
    label = np.arange(samples) * classes // samples
    ids = permutation(samples, 0, 7)[: samples // batch * batch]
    counts = np.stack([np.bincount(label[rows], minlength=classes) for rows in ids.reshape(-1, batch)])
    expected = batch / classes * (1 - 1 / classes) * (1 - batch / samples)
    assert counts.var() / expected == pytest.approx(1, abs=0.04)


def test_epochs_and_seeds_share_no_structure():
    """Two shuffles agree at one position on average, and keep one pair of neighbors."""
    kinds = [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (0, -1)]
    drawn = [permutation(50_000, seed, epoch) for seed, epoch in kinds]
    for number, one in enumerate(drawn):
        for other in drawn[:number]:
            assert (one == other).sum() < 9
            place = np.argsort(other)[one]
            assert (np.abs(np.diff(place)) == 1).sum() < 14
            assert abs(np.corrcoef(one, other)[0, 1]) < 4.5 / sqrt(len(one))
