"""The DALI renderer gives the pixels of the reference, alone or finished by the device renderer."""

import numpy as np
import pytest
import torch

from viewstream.augment.recipes import evaluation, moco_v1, moco_v2, ssl_small_mask, supervised
from viewstream.augment.renderers.dali import split
from viewstream.augment.spec import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HideAndSeek,
    HorizontalFlip,
    Op,
    RandomResizedCrop,
    ResizeCenterCrop,
    Solarize,
)

from .dali_views import NORM, ON, SAMPLES, STD, decoded, drawn, gaps, rendered


def levels(x):
    return (x * STD + torch.tensor(NORM.mean).view(3, 1, 1)) * 255


def test_dali_executes_the_ops_before_the_first_jitter_and_every_flip():
    jitter, crop = ColorJitter(0.4, 0.4, 0.4, 0.1), RandomResizedCrop(32)
    assert split((crop, Grayscale(), jitter, GaussianBlur(), HorizontalFlip(), NORM)) == (
        (crop, Grayscale(), HorizontalFlip()),
        (jitter, GaussianBlur(), NORM),
    )
    whole = (crop, GaussianBlur(), Grayscale(), HorizontalFlip(), Solarize(), NORM)
    assert split(whole) == (whole, ())
    assert split((crop, Grayscale(), NORM, HideAndSeek())) == ((crop, Grayscale()), (NORM, HideAndSeek()))


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize("size", [32, 96, 224])
def test_crops_are_those_of_pil(jpegs, size, on):
    firsts: list[Op] = []
    for filter in ("bilinear", "bicubic"):
        firsts += [RandomResizedCrop(size, filter=filter), ResizeCenterCrop(size, round(size * 8 / 7), filter)]
    for gap in gaps(tuple((first, NORM) for first in firsts), jpegs, on):
        assert gap.mean() <= 0.5
        assert gap.max() <= 8  # at the border, where DALI repeats the edge of the box
        assert gap[:, :, 1:-1, 1:-1].max() <= 5


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize("size", [32, 96, 224])
def test_each_op_is_close_to_the_reference(jpegs, size, on):
    ops = {Grayscale(p=1): (0.5, 8), GaussianBlur(p=1): (0.7, 30), GaussianBlur(sigma=(1.0, 2.0), p=1): (0.7, 30)}
    views = tuple((RandomResizedCrop(size), op, NORM) for op in ops)
    for gap, (mean, largest) in zip(gaps(views, jpegs, on), ops.values(), strict=True):
        assert gap.mean() <= mean
        assert gap.max() <= largest


@pytest.mark.parametrize("on", ON)
def test_flip_and_solarize_are_exact(jpegs, on):
    def shown(*ops):  # each as view 0: the same boxes for all
        return levels(rendered(((RandomResizedCrop(64), *ops, NORM),), jpegs, on)[0])

    plain = shown()
    torch.testing.assert_close(shown(HorizontalFlip(1)), plain.flip(3), rtol=0, atol=0.001)
    inverted = torch.where(plain > 127.5, 255 - plain, plain)
    torch.testing.assert_close(shown(Solarize(1)), inverted, rtol=0, atol=0.001)
    torch.testing.assert_close(shown(Solarize(1, 256)), plain, rtol=0, atol=0.001)


@pytest.mark.parametrize("on", ON)
def test_an_op_that_is_off_changes_nothing(jpegs, on):
    (plain,) = rendered(((RandomResizedCrop(64), NORM),), jpegs, on)
    never = (RandomResizedCrop(64), Grayscale(p=0), GaussianBlur(p=0), Solarize(p=0), HorizontalFlip(p=0), NORM)
    assert torch.equal(rendered((never,), jpegs, on)[0], plain)
    for op in (Grayscale(p=0.5), GaussianBlur(), Solarize(p=0.5), HorizontalFlip()):
        view = (RandomResizedCrop(64), op, NORM)
        off = torch.from_numpy(~drawn((view,), decoded(jpegs)[1], range(SAMPLES))[0][1]["on"])
        assert 0 < off.sum() < SAMPLES
        assert torch.equal(rendered((view,), jpegs, on)[0][off], plain[off])


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize("size", [32, 96, 224])
def test_whole_views_are_within_the_parity_bounds(jpegs, size, on):
    byol_like = (
        RandomResizedCrop(size, (0.08, 1.0)),
        GaussianBlur(p=1.0),
        Grayscale(),
        HorizontalFlip(),
        Solarize(),
        NORM,
    )
    in_dali = (*evaluation(size), *supervised(size), byol_like)
    assert not any(split(view)[1] for view in in_dali)
    for gap in gaps((*in_dali, moco_v2(size)[0]), jpegs, on):
        assert gap.mean() <= 1.5
        assert np.percentile(gap.numpy(), 99) <= 8


@pytest.mark.parametrize("on", ON)
def test_dali_and_the_device_share_the_ops_around_a_jitter(jpegs, on):
    for gap in gaps((moco_v1(64)[0], ssl_small_mask(64)[0]), jpegs, on):
        assert gap.mean() <= 1.7  # as in test_device.py for MoCo v1
        assert np.percentile(gap.numpy(), 99) <= 8


@pytest.mark.parametrize("on", ON)
def test_the_device_takes_over_pixels_for_hide_and_seek(jpegs, on):
    (gap,) = gaps(((RandomResizedCrop(60), Grayscale(), NORM, HideAndSeek(grids=(0, 7, 14))),), jpegs, on)
    assert gap.mean() <= 0.5
    assert gap.max() <= 8
