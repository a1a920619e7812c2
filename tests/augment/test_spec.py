"""A view that no renderer could execute is refused when it is made."""

import pytest

from viewstream.augment.recipes import moco_v1, moco_v2
from viewstream.augment.spec import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Normalize,
    RandomResizedCrop,
    ResizeCenterCrop,
    check,
)
from viewstream.shards.errors import UserError

END = Normalize()


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        ((HorizontalFlip(), END), "must begin"),
        ((RandomResizedCrop(8), RandomResizedCrop(8), END), "must begin"),
        ((RandomResizedCrop(8), HorizontalFlip()), "must end"),
        ((RandomResizedCrop(8), END, HorizontalFlip()), "must end"),
        ((RandomResizedCrop(8), Grayscale(), Grayscale(), END), "twice"),
        ((RandomResizedCrop(0), END), "at least 1 px"),
        ((RandomResizedCrop(8, area=(0.5, 1.5)), END), "cannot exceed"),
        ((RandomResizedCrop(8, area=(0.0, 1.0)), END), "0 < low"),
        ((RandomResizedCrop(8), GaussianBlur(sigma=(-1, 2)), END), "0 < low"),
        ((RandomResizedCrop(8), Grayscale(p=1.2), END), "0..1"),
        ((RandomResizedCrop(8), ColorJitter(0.4, 0.4, 0.4, 0.6), END), "hue"),
        ((ResizeCenterCrop(224, 200), END), "does not fit"),
    ],
)
def test_an_impossible_view_is_refused(view, reason):
    with pytest.raises(UserError, match=reason):
        check((view,))


def test_moco_v1_greys_before_it_jitters_and_v2_after():
    assert [type(op) for op in moco_v1()[0]] == [RandomResizedCrop, Grayscale, ColorJitter, HorizontalFlip, Normalize]
    assert [type(op) for op in moco_v2()[0]] == [
        RandomResizedCrop,
        ColorJitter,
        Grayscale,
        GaussianBlur,
        HorizontalFlip,
        Normalize,
    ]
