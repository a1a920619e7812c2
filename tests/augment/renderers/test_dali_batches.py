"""Batches of the DALI renderer: several views per decode, equal samples in any batch, damaged JPEGs named."""

import sys

import pytest
import torch

from viewstream.augment.recipes import seed_patches, supervised
from viewstream.augment.renderers.dali import Renderer
from viewstream.augment.spec import GaussianBlur, Grayscale, HorizontalFlip, RandomResizedCrop, Solarize, size_of
from viewstream.shards.errors import UserError

from .dali_views import NORM, ON, SAMPLES, decoded, drawn, gaps, rendered, renderer


@pytest.mark.parametrize("on", ON)
def test_many_views_of_two_sizes_come_from_one_decode(jpegs, on):
    views = seed_patches(64)
    assert [size_of(view) for view in views] == [64] + [27] * 6
    assert all(gap.mean() <= 1.5 for gap in gaps(views, jpegs, on))


@pytest.mark.parametrize("on", ON)
def test_a_sample_is_the_same_in_any_batch_and_outlives_the_next_call(jpegs, on):
    views = ((RandomResizedCrop(64), GaussianBlur(), Grayscale(), Solarize(), HorizontalFlip(), NORM), *supervised(32))
    whole = rendered(views, jpegs, on)
    kept = [x.clone() for x in whole]
    for ids in ([5], list(range(SAMPLES))[::-1], [3, 17, 4, 20, 3]):
        part = rendered(views, [jpegs[i] for i in ids], on, ids)
        assert all(torch.equal(x, y[ids]) for x, y in zip(part, whole, strict=True))
    assert all(map(torch.equal, whole, kept))


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize("spoil", [lambda j: b"no JPEG", lambda j: b"", lambda j: j[: len(j) // 2]])
def test_a_damaged_jpeg_is_named_and_the_next_batch_is_whole(jpegs, spoil, on):
    views, hw = supervised(32), decoded(jpegs)[1]
    before = rendered(views, jpegs, on)
    with pytest.raises(UserError, match="sample 7 of the batch is damaged"):
        renderer(views, on)([*jpegs[:7], spoil(jpegs[7]), *jpegs[8:]], hw, drawn(views, hw, range(SAMPLES)))
    assert all(map(torch.equal, before, rendered(views, jpegs, on)))


@pytest.mark.parametrize("on", ON)
def test_boxes_drawn_for_another_size_are_refused(jpegs, on):
    views, hw = supervised(32), decoded(jpegs)[1]
    hw[3] -= 1
    with pytest.raises(UserError, match="sample 3 of the batch is"):
        renderer(views, on)(jpegs, hw, drawn(views, hw, range(SAMPLES)))


def test_without_dali_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(UserError, match=r"viewstream\[dali\]"):
        Renderer(supervised(32), 4)
    with pytest.raises(UserError, match="unknown DALI device 'cuda'"):
        Renderer(supervised(32), 4, "cuda")
