"""The repeated draw gives the results of the published one.

`subsets_synthetic.npz`: images are integers, class * 110 + index; `lt` and `val` [N] in the order of their files; the
sets that the original program made of them, each sorted.
"""

from pathlib import Path

import numpy as np
import pytest

from viewstream.shards.errors import UserError
from viewstream.shards.subsets.release import NAMES, by_class, release

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "subsets_synthetic.npz")
CLASSES, EACH = 1000, int(GOLDEN["images_per_class"])


@pytest.fixture(scope="module")
def classes():
    """(pool, tail), the arguments of `release`."""
    pool = np.setdiff1d(np.arange(CLASSES * EACH), GOLDEN["val"])
    return tuple(by_class(ids, ids // EACH, CLASSES) for ids in (pool, GOLDEN["lt"]))


@pytest.mark.parametrize("name", NAMES)
def test_the_published_draw_is_repeated_exactly(name, classes):
    released = [image for images in release(name, *classes) for image in images]
    assert sorted(released) == GOLDEN["lt0p" if name == "100kp" else name].tolist()


def test_a_class_that_is_too_small_is_an_error():
    with pytest.raises(UserError, match=r"takes 3 images of a class that has 2 outside lt-val.*--draw-subset"):
        release("lt0", [[0, 1], [2, 3, 4, 5, 6]], [[0], [2, 3, 4, 5, 6]])
