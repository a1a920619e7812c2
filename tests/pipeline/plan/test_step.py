"""Steps name how often an epoch showed each of their samples before, whatever the rank, the batch and the start."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.plan.orders import Balanced
from viewstream.pipeline.plan.step import occurrences

LABELS = np.repeat([0, 1, 2], [20, 3, 1])
ORDERS = {"permutation": None, "balanced": Balanced(LABELS, 2)}


def showings(plans, epoch, start=0):
    """(row, occurrence) of all ranks, in the order of the global batches."""
    ranks = [[np.stack(step, axis=1) for step in plan.steps(epoch, start)] for plan in plans]
    return np.concatenate([np.concatenate(steps) for steps in zip(*ranks, strict=True)])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_occurrences_count_the_same_id_at_earlier_positions(order):
    assert occurrences(np.array(order)).tolist() == [order[:at].count(row) for at, row in enumerate(order)]


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("tail", ["drop", "pad"])
@given(epoch=st.integers(-1, 40), share=st.integers(1, 5), world_size=st.integers(1, 4), start=st.integers(0, 3))
def test_no_row_is_shown_twice_with_one_occurrence_on_any_ranks_from_any_start(
    order, tail, epoch, share, world_size, start
):
    batch = share * world_size
    plans = [Plan(len(LABELS), batch, world_size, rank, 7, tail, order) for rank in range(world_size)]
    whole = showings([Plan(len(LABELS), batch, 1, 0, 7, tail, order)], epoch)
    assert len(np.unique(whole, axis=0)) == len(whole)
    start = min(start, len(plans[0]) - 1)
    np.testing.assert_array_equal(showings(plans, epoch, start), whole[start * batch :])
    for row in np.unique(whole[:, 0]):
        assert whole[whole[:, 0] == row, 1].tolist() == list(range((whole[:, 0] == row).sum()))


def test_an_order_without_repeats_has_occurrence_0_alone():
    for tail in ("drop", "exact"):
        assert not any(step.occurrence.any() for step in Plan(50, 8, tail=tail).steps(3))
