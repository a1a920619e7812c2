"""The DALI loader shows `ViewLoader`'s pixels, within the renderer's bounds."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from viewstream.augment.recipes import evaluation, moco_v2, seed_patches, supervised
from viewstream.pipeline.loader import ViewLoader
from viewstream.pipeline.plan.order import Plan

from .dali_loaders import ON, assert_near, assert_same, indexed


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize("recipe", [moco_v2, seed_patches, evaluation])
def test_dali_shows_the_pixels_of_every_other_loader(stream, recipe, on):
    views = recipe(64)
    assert_near(stream(views, device=on).epoch(1), stream(views, ViewLoader).epoch(1), views)


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize("reader", ["folder", pytest.param("ffcv", marks=pytest.mark.full)])
def test_pixels_do_not_depend_on_the_door_or_the_number_of_threads(stream, reader, on):
    if reader == "ffcv":
        pytest.importorskip("ffcv", reason="ffcv is not installed: that reader is left out")
    views = moco_v2(32)
    other = stream(views, device=on, reader=reader, threads=3)
    assert_same(other.epoch(0), stream(views, device=on, threads=1).epoch(0))


@pytest.mark.parametrize("on", ON)
def test_views_come_in_the_dtype_that_was_asked_for(stream, on):
    views = (*evaluation(32), *moco_v2(32))  # finished by DALI, finished by us
    half, whole = (next(iter(stream(views, device=on, dtype=d).epoch(0))) for d in (torch.bfloat16, torch.float32))
    for a, b in zip(half.views, whole.views, strict=True):
        assert torch.equal(a, b.bfloat16())
        assert a.is_contiguous(memory_format=torch.channels_last)


def jpeg(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("on", ON)
def test_odd_pictures_are_the_same_pixels_too(stream, tmp_path, on):
    rng = np.random.default_rng(3)
    ramp = np.add.outer(np.arange(300), np.arange(640)) % 256

    def some(height, width):
        return np.stack([np.roll(ramp, k, 1)[:height, :width] for k in rng.integers(0, 200, 3)], 2).astype(np.uint8)

    pictures = [some(*size) for size in ((1, 1), (3, 5), (4, 600), (299, 7), (64, 64), (300, 640))]
    jpegs = [jpeg(x, quality=95) for x in pictures]
    jpegs += [jpeg(pictures[5][..., 0]), jpeg(pictures[5], progressive=True), jpeg(pictures[4], subsampling=0)]
    manifest, plan = indexed(jpegs, tmp_path), Plan(len(jpegs), 4, tail="exact")
    for views in (supervised(48), evaluation(48)):
        ours = stream(views, plan=plan, manifest=manifest, device=on)
        assert_near(ours.epoch(0), stream(views, ViewLoader, plan, manifest).epoch(0), views)
