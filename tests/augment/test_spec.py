"""A view that no renderer could execute is refused when it is made."""

import pytest

from viewstream.augment.recipes import moco_v1, moco_v2
from viewstream.augment.spec import Blur, Crop, Flip, Grey, Jitter, Normalize, ResizeCenterCrop, check
from viewstream.shards.errors import UserError

END = Normalize()


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        ((Flip(), END), "must begin"),
        ((Crop(8), Crop(8), END), "must begin"),
        ((Crop(8), Flip()), "must end"),
        ((Crop(8), END, Flip()), "must end"),
        ((Crop(8), Grey(), Grey(), END), "twice"),
        ((Crop(0), END), "at least 1 px"),
        ((Crop(8, area=(0.5, 1.5)), END), "cannot exceed"),
        ((Crop(8, area=(0.0, 1.0)), END), "0 < low"),
        ((Crop(8), Blur(sigma=(-1, 2)), END), "0 < low"),
        ((Crop(8), Grey(p=1.2), END), "0..1"),
        ((Crop(8), Jitter(0.4, 0.4, 0.4, 0.6), END), "hue"),
        ((ResizeCenterCrop(224, 200), END), "does not fit"),
    ],
)
def test_an_impossible_view_is_refused(view, reason):
    with pytest.raises(UserError, match=reason):
        check((view,))


def test_moco_v1_greys_before_it_jitters_and_v2_after():
    assert [type(op) for op in moco_v1()[0]] == [Crop, Grey, Jitter, Flip, Normalize]
    assert [type(op) for op in moco_v2()[0]] == [Crop, Jitter, Grey, Blur, Flip, Normalize]
