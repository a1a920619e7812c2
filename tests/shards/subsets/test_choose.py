"""Subset options: the splits they read, and errors for invalid combinations and sources."""

import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.subsets.choose import split_of, subset
from viewstream.shards.subsets.options import SubsetOptions

from .named import PETS, STREAM, named

pytestmark = pytest.mark.usefixtures("no_lists")


def test_a_subset_has_a_split_to_read_and_one_to_make(tmp_path):
    assert split_of("full", None) == split_of("lt6", None) == split_of("clsset1", None) == ("train", "train")
    assert split_of("full", "val") == split_of("lt-test", None) == ("val", "val")
    assert split_of("lt-val", None) == split_of("lt-val", "val") == split_of("lt-val", "train") == ("train", "val")
    (tmp_path / "mine").touch()
    assert split_of(str(tmp_path / "mine"), "val") == ("val", "val")
    for name in ("lt6", "100kp"):
        with pytest.raises(UserError, match=f"{name} is a part of the train split: use --split train, or --subset f"):
            split_of(name, "val")
    with pytest.raises(UserError, match="lt-test is a part of the val split: use --split val, or --subset full for tr"):
        split_of("lt-test", "train")


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (
            SubsetOptions("lt5"),
            r"unknown subset 'lt5': did you mean 'lt.*there are full, lt0.*; or name a file, lt5 is none",
        ),
        (SubsetOptions(classes="clsset3"), "unknown class set 'clsset3': did you mean"),
        (SubsetOptions(draw_subset=True), "name its shape, as in --subset lt6"),
        (
            SubsetOptions("lt", draw_subset="release"),
            "repeats how lt0, 100kp, lt8, lt6, lt4, lt2 were made, not lt: name one",
        ),
        (SubsetOptions(__file__, draw_subset=True), "--draw-subset cannot draw the list"),
        (SubsetOptions("lt6"), r"ImageNet's 1000 classes, made has 3 .*--draw-subset draws the same shape"),
        (SubsetOptions("lt6", draw_subset="release"), "ImageNet's 1000 classes, made has 3"),
        (SubsetOptions(fraction=0.0), "--fraction 0.0 is not a share"),
        (SubsetOptions(fraction=float("nan")), "--fraction nan is not a share"),
        (SubsetOptions(per_class=-1), "--per-class -1 is negative"),
        (SubsetOptions(fraction=0.5, per_class=2), "give one of them"),
        (
            SubsetOptions("lt", draw_subset=True, imbalance=0.5),
            "--imbalance 0.5 is not a ratio of the largest to the smallest class",
        ),
    ],
)
def test_invalid_options_are_errors(choice, message):
    with pytest.raises(UserError, match=message):
        subset(PETS, choice, 0)


def test_a_val_source_has_no_subsets_of_train():
    val = named(list(PETS.classes), PETS.paths, "val")
    for name in ("lt6", "lt-val"):
        with pytest.raises(UserError, match="--split"):
            subset(val, SubsetOptions(name, draw_subset=True), 0)


def test_an_unlabeled_source_has_no_subsets_by_class(tmp_path):
    assert subset(STREAM, SubsetOptions(), 0).label.tolist() == [-1] * 9
    for choice in (SubsetOptions("lt6"), SubsetOptions("lt0", draw_subset=True), SubsetOptions("clsset1")):
        with pytest.raises(UserError, match=r"made has no classes to take \S+ by: use --subset full"):
            subset(STREAM, choice, 0)
    (tmp_path / "two").write_text("cat\n")
    with pytest.raises(UserError, match="no classes to choose from: leave out --classes"):
        subset(STREAM, SubsetOptions(classes=str(tmp_path / "two")), 0)
