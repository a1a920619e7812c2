"""A view that no renderer can execute is refused when it is made."""

from dataclasses import dataclass

import pytest

from viewstream.augment.checks import check
from viewstream.augment.recipes import moco_v1, moco_v2
from viewstream.augment.spec import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HideAndSeek,
    HorizontalFlip,
    Normalize,
    RandomResizedCrop,
    ResizeCenterCrop,
    built_in_ops,
    user_ops,
)
from viewstream.shards.errors import UserError

END = Normalize()


@dataclass(frozen=True)
class Invert:
    """An op of the user's own."""

    values: tuple[float, ...] | list[float] = ()

    def __call__(self, x, keyed):
        return -x


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
        ((Invert(), RandomResizedCrop(8), END), "must begin"),
        ((RandomResizedCrop(8), Invert()), "must end"),
        ((RandomResizedCrop(8), Invert(), END), r"has Invert\(values=\(\)\) before Normalize, .* put it last"),
        ((RandomResizedCrop(8), END, Invert(), HideAndSeek()), "before HideAndSeek"),
        ((RandomResizedCrop(8), END, Invert), "Invert'>, which is not an op"),
        ((RandomResizedCrop(8), "Grayscale", END), "'Grayscale', which is not an op"),
        ((RandomResizedCrop(8), END, Invert([1.0])), "cannot be hashed: make its class a frozen dataclass"),
    ],
)
def test_an_impossible_view_is_refused(view, reason):
    with pytest.raises(UserError, match=reason):
        check((view,))


def test_a_view_may_end_with_ops_of_the_users_own():
    def negate(x, keyed):
        return -x

    own = (Invert(), negate, Invert())
    for ours in ((RandomResizedCrop(8), END), (RandomResizedCrop(8), Grayscale(), END, HideAndSeek())):
        (view,) = check(((*ours, *own),))
        assert (built_in_ops(view), user_ops(view)) == (ours, own)


def test_moco_v1_turns_gray_before_it_jitters_and_v2_after():
    assert [type(op) for op in moco_v1()[0]] == [RandomResizedCrop, Grayscale, ColorJitter, HorizontalFlip, Normalize]
    assert [type(op) for op in moco_v2()[0]] == [
        RandomResizedCrop,
        ColorJitter,
        Grayscale,
        GaussianBlur,
        HorizontalFlip,
        Normalize,
    ]
