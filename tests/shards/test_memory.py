"""A manifest in memory: for a reader of your own, without files of a set."""

import numpy as np
import pytest

from viewstream.shards import Manifest, UserError, in_memory
from viewstream.shards.columns import NUMBERS
from viewstream.shards.manifest import uid_of

KEYS = ["cat/a", "dog/b", "cat/c"]
LABEL = np.array([0, 1, 0])
HW = np.array([(30, 40), (50, 60), (70, 80)])


def test_it_has_the_columns_of_a_manifest_and_minus_one_for_files():
    made = in_memory("pets", KEYS, LABEL, HW, ("cat", "dog"))
    assert isinstance(made, Manifest)
    assert (len(made), made.keys, made.strings("key")) == (3, KEYS, KEYS)
    assert made.uid.tolist() == list(map(uid_of, KEYS))
    assert made.label.tolist() == [0, 1, 0]
    assert made.hw.tolist() == HW.tolist()
    for name in ("bytes", "shard", "offset", "beton"):
        assert getattr(made, name).tolist() == [-1] * 3
    assert (made.info.classes, made.info.counts, made.info.samples) == (("cat", "dog"), (2, 1), 3)
    assert (made.info.kind, made.tars()) == ("plain", [])


def test_its_columns_have_the_types_of_a_built_set(built):
    made = in_memory("pets", KEYS, LABEL, HW, ("cat", "dog"), bytes=[5, 6, 7])
    assert made.bytes.tolist() == [5, 6, 7]
    for name in ("rows", *NUMBERS):
        assert getattr(made, name).dtype == getattr(built, name).dtype, name


def test_some_of_its_samples_keep_their_keys():
    made = in_memory("pets", KEYS, LABEL, HW, ("cat", "dog"), source=[f"{key}.jpg" for key in KEYS])
    part = made.take(np.array([2, 0]), np.array([0, 0]), ("cat",))
    assert part.keys == ["cat/c", "cat/a"]
    assert part.strings("source") == ["cat/c.jpg", "cat/a.jpg"]
    assert part.hw.tolist() == [[70, 80], [30, 40]]
    assert part.info.counts == (2,)


def test_a_column_that_it_does_not_have_is_named():
    made = in_memory("pets", KEYS, LABEL, HW, ("cat", "dog"))
    for column in ("sha256", "source"):
        with pytest.raises(UserError, match=f"pets was not built, so there is no {column} .*, only key: build a set"):
            made.strings(column)
    with pytest.raises(UserError, match="pets holds plain, not ffcv"):
        made.require("ffcv")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": LABEL[:2]}, "3 keys, 2 labels and 3 sizes: give one of each"),
        ({"keys": ["cat/a", "cat/a", "dog/b"]}, "1 repeated key,"),
        ({"classes": ("cat",)}, "label 1, 1 class: name a class"),
    ],
)
def test_arguments_that_do_not_fit_together_are_refused(changes, message):
    arguments = {"keys": KEYS, "label": LABEL, "hw": HW, "classes": ("cat", "dog"), **changes}
    with pytest.raises(UserError, match=message):
        in_memory("pets", **arguments)


def test_unlabeled_images_need_no_classes():
    made = in_memory("pets", KEYS, np.full(3, -1), HW)
    assert (made.info.classes, made.info.counts) == ((), ())
    with pytest.raises(UserError, match="3 of the 3 samples of pets are unlabeled"):
        made.require_labels("kNN")
