"""Class sets keep some classes and renumber them."""

import numpy as np
import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.subsets.classsets import class_set, computed, remap
from viewstream.shards.subsets.published import CLASSSETS

PETS = ("cat", "dog", "eel", "fox", "gnu")


@pytest.mark.parametrize("name", CLASSSETS)
def test_the_published_class_sets_follow_from_the_sorted_classes(name, shared):
    wnids = tuple(line.strip("/") for line in (shared / "lists/imagenet_clsfull.txt").read_text().split())
    listed, origin = class_set(name, wnids, shared / "lists", compute=False)
    assert computed(name, wnids[::-1]) == listed
    assert origin == {"name": name, "from": "list", "file": f"imagenet_{name}.txt", "sha256": origin["sha256"]}


def test_class_sets_are_halves_of_any_classes():
    for name in ("clsset1", "clsset2"):
        half, other = (class_set(n, PETS, None, compute=True)[0] for n in (name, f"{name}_comp"))
        assert (len(half), len(other)) == (2, 3)
        assert sorted(half + other) == list(PETS)
    assert computed("clsset1", PETS) == ["cat", "dog"]


def test_labels_number_the_sorted_names():
    label, classes = remap(np.array([0, 1, 2, 3, 4, -1, 4]), PETS, ["gnu", "dog"], "set")
    assert classes == ("dog", "gnu")
    assert label.tolist() == [-1, 0, -1, -1, 1, -1, 1]
    assert label.dtype == np.int32


def test_unknown_classes_are_named_in_the_error():
    with pytest.raises(UserError, match=r"set names 2 classes not among the 5 here .*: ant, bee; name classes"):
        remap(np.array([0]), PETS, ["bee", "cat", "ant"], "set")
    with pytest.raises(UserError, match=r"names 25 classes.*: c00, .*c19, \.\.\.;"):
        remap(np.array([0]), PETS, [f"c{n:02d}" for n in range(25)], "set")
    with pytest.raises(UserError, match=r"--draw-subset computes it from these"):
        remap(np.array([0]), PETS, ["n01440764"], "clsset1")
    with pytest.raises(UserError, match=r"unknown class set 'clsset3': did you mean .*; or name a file"):
        class_set("clsset3", PETS, None, compute=False)
