"""A fraction, or a number of images, of each class."""

from itertools import pairwise

import numpy as np
import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.subsets.choose import subset
from viewstream.shards.subsets.options import SubsetOptions

from .named import PETS, STREAM

pytestmark = pytest.mark.usefixtures("no_lists")


def test_a_fraction_of_each_class_contains_every_smaller_one():
    parts = [subset(PETS, SubsetOptions(fraction=f), 3) for f in (0.01, 0.25, 0.5, 0.9)]
    assert [np.bincount(part.label).tolist() for part in parts] == [[1, 1, 1], [2, 2, 1], [5, 3, 2], [9, 5, 3]]
    for small, large in pairwise(parts):
        assert set(small.rows) < set(large.rows)
    assert parts[0].origin == {"name": "full", "from": "source", "fraction": 0.01, "seed": 3}
    assert set(subset(PETS, SubsetOptions(fraction=0.5), 4).rows) != set(parts[2].rows)


def test_per_class_takes_a_number_of_each_class():
    part = subset(PETS, SubsetOptions(per_class=3), 0)
    assert np.bincount(part.label).tolist() == [3, 3, 3]
    assert set(part.rows) < set(subset(PETS, SubsetOptions(per_class=5, allow_missing=True), 0).rows)
    with pytest.raises(UserError, match=r"class dog has 6 images \(2 of 3 classes .*fewer than 7.*--allow-missing"):
        subset(PETS, SubsetOptions(per_class=7), 0)
    assert np.bincount(subset(PETS, SubsetOptions(per_class=7, allow_missing=True), 0).label).tolist() == [7, 6, 3]
    assert len(subset(STREAM, SubsetOptions(per_class=4), 0).rows) == 4
    assert len(subset(STREAM, SubsetOptions(fraction=0.34), 0).rows) == 3
    with pytest.raises(UserError, match="class unlabeled has 9"):
        subset(STREAM, SubsetOptions(per_class=10), 0)


def test_after_takes_the_rest_of_a_set_of_so_many_per_class():
    whole, first = subset(PETS, SubsetOptions(), 5), subset(PETS, SubsetOptions(per_class=2), 5)
    rest = subset(PETS, SubsetOptions(after=2), 5)
    assert sorted([*first.rows, *rest.rows]) == list(whole.rows)
    assert rest.origin == {"name": "full", "from": "source", "after": 2, "seed": 5}
    one = subset(PETS, SubsetOptions(after=2, per_class=1), 5)
    assert set(one.rows) == set(subset(PETS, SubsetOptions(per_class=3), 5).rows) - set(first.rows)
    with pytest.raises(UserError, match=r"class eel has 1 image besides the 2 of --after.*--allow-missing"):
        subset(PETS, SubsetOptions(after=2, per_class=2), 5)
    with pytest.raises(UserError, match="--after takes the rest of --per-class"):
        subset(PETS, SubsetOptions(after=2, fraction=0.5), 5)


def test_a_share_comes_after_the_drawn_set_and_the_classes():
    drawn = subset(PETS, SubsetOptions("lt", draw_subset=True, imbalance=2), 0)
    half = subset(PETS, SubsetOptions("lt", draw_subset=True, imbalance=2, fraction=0.5), 0)
    assert set(half.rows) < set(drawn.rows)
    assert (half.origin["from"], half.origin["fraction"]) == ("draw", 0.5)
    single = subset(PETS, SubsetOptions("clsset1_comp", draw_subset=True, per_class=1), 0)
    assert (single.classes, single.label.tolist()) == (("dog", "eel"), [0, 1])
