"""Steps name how often an epoch showed each of their samples before, whatever the rank, the batch and the start."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.plan.orders import Balanced

LABELS = np.repeat([0, 1, 2], [20, 3, 1])
ORDERS = {"permutation": None, "balanced": Balanced(LABELS, 2), "balanced 1": Balanced(LABELS, 2, version=1)}


def showings(plans, epoch, start=0):
    """(row, occurrence) of all ranks, in the order of the global batches."""
    ranks = [[np.stack(step, axis=1) for step in plan.steps(epoch, start)] for plan in plans]
    return np.concatenate([np.concatenate(steps) for steps in zip(*ranks, strict=True)])


@given(
    st.lists(st.integers(0, 3), min_size=4, max_size=40).filter(lambda label: len({*label}) == 4),
    st.integers(1, 3),
    st.sampled_from([1, 2]),
)
def test_a_balanced_occurrence_is_the_pass_of_the_class_counted_from_the_first_of_the_epoch(label, repeat, version):
    label, order, shown = np.array(label), Balanced(np.array(label), repeat, version), Counter()
    for epoch in range(-1, 4):  # a pass shows each image of the class once: so many times was the image shown before
        (rows, occurrence), showings = order(7, epoch).at(np.arange(len(label))), order(7, epoch).showings
        passes = [(shown[row], shown.update([row]))[0] for row in rows.tolist()]
        first = {c: min(p for p, row in zip(passes, rows, strict=True) if label[row] == c) for c in {*label[rows]}}
        assert occurrence.tolist() == [p - first[label[row]] for p, row in zip(passes, rows, strict=True)]
        assert showings == 1 + occurrence.max()


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
        assert (np.diff(whole[whole[:, 0] == row, 1]) > 0).all()


def test_an_order_without_repeats_has_occurrence_0_alone():
    for tail in ("drop", "exact"):
        assert not any(step.occurrence.any() for step in Plan(50, 8, tail=tail).steps(3))
