"""Tars come in turn with all their rows of a window, whatever the order, and no more of the order is taken."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewstream.pipeline.readers.turns import turns
from viewstream.shards.errors import UserError

from .streams import blocks

SHARDS, EACH, SIZE = 12, 10, 7


def made(seed=0):
    """Shards of EACH samples of SIZE bytes, mixed in the manifest."""
    shard = np.random.default_rng(seed).permutation(np.repeat(np.arange(SHARDS), EACH))
    return SimpleNamespace(shard=shard, bytes=np.full(len(shard), SIZE, np.int32))


def of(rows, manifest, window, part=4):
    parts = iter(np.array_split(rows, max(1, len(rows) // part)))
    return turns(parts, manifest, window * EACH * SIZE, "too many tars")


def announced(found):
    """How often each row is read."""
    times = Counter()
    for turn in found:
        times.update(turn.times)
    return times


@given(st.integers(1, 5), st.integers(0, 3), st.integers(0, 99), st.integers(1, 3), st.integers(0, 100))
def test_each_tar_of_a_block_has_one_turn_with_all_its_rows(window, more, seed, step, start):
    manifest = made(seed)
    rows = blocks(manifest.shard, window, seed)[start::step]  # a rank, from the middle of an epoch
    found = [*of(rows, manifest, window + more)]
    assert [turn.shard for turn in found] == [*dict.fromkeys(manifest.shard[rows].tolist())]
    for turn in found:
        assert Counter(turn.times) == Counter(rows[manifest.shard[rows] == turn.shard].tolist())


@given(st.integers(1, 4), st.integers(0, 99), st.integers(1, 5))
def test_rows_that_an_epoch_repeats_at_its_end_are_announced_again(window, seed, more):
    manifest = made(seed)
    rows = blocks(manifest.shard, window, seed)
    rows = np.concatenate([rows, rows[:more]])  # fewer than half a window
    assert announced(of(rows, manifest, window)) == Counter(rows.tolist())


@given(st.lists(st.integers(0, SHARDS * EACH - 1), max_size=80), st.integers(0, 99))
def test_any_order_of_no_more_than_a_window_is_accepted(rows, seed):
    manifest = made(seed)
    rows = 3 * rows
    found = [*of(np.array(rows, np.int64), manifest, SHARDS)]
    assert len(found) == len(set(manifest.shard[rows].tolist()))
    assert announced(found) == Counter(rows)


@pytest.mark.parametrize("window", [1, 2, 3])
def test_a_mixed_order_is_refused_before_the_first_turn(window):
    manifest = made()
    order = of(np.random.default_rng(1).permutation(len(manifest.shard)), manifest, window)
    with pytest.raises(UserError, match="too many tars"):
        next(order)


def test_no_more_of_the_order_is_taken_than_a_window():
    manifest, taken = made(), []
    rows = np.argsort(manifest.shard, kind="stable")

    def parts():
        for row in rows:
            taken.append(row)
            yield np.array([row])

    order = turns(parts(), manifest, 2 * EACH * SIZE, "")
    for number in range(1, 6):
        next(order)
        assert len(taken) == (number + 3) * EACH + 1
