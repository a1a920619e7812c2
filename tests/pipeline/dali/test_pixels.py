"""The DALI loader shows the pixels of `ViewLoader`, within the bounds of the renderer."""

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
def test_dali_shows_the_pixels_of_every_other_loader(make_loader, recipe, on):
    views = recipe(64)
    assert_near(make_loader(views, device=on).epoch(1), make_loader(views, ViewLoader).epoch(1), views)


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize("reader", ["folder", pytest.param("ffcv", marks=pytest.mark.full)])
def test_pixels_do_not_depend_on_the_reader_or_the_number_of_threads(make_loader, reader, on):
    if reader == "ffcv":
        pytest.importorskip("ffcv", reason="ffcv is not installed: that reader is left out")
    views = moco_v2(32)
    other = make_loader(views, device=on, reader=reader, threads=3)
    assert_same(other.epoch(0), make_loader(views, device=on, threads=1).epoch(0))


@pytest.mark.parametrize("on", ON)
def test_views_come_in_the_dtype_that_was_asked_for(make_loader, on):
    views = (*evaluation(32), *moco_v2(32))  # finished by DALI, finished by us
    half, whole = (next(iter(make_loader(views, device=on, dtype=d).epoch(0))) for d in (torch.bfloat16, torch.float32))
    for a, b in zip(half.views, whole.views, strict=True):
        assert torch.equal(a, b.bfloat16())
        assert a.is_contiguous(memory_format=torch.channels_last)


def jpeg(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("on", ON)
def test_odd_images_give_the_same_pixels_too(make_loader, tmp_path, on):
    rng = np.random.default_rng(3)
    ramp = np.add.outer(np.arange(300), np.arange(640)) % 256

    def ramps(height, width):
        return np.stack([np.roll(ramp, k, 1)[:height, :width] for k in rng.integers(0, 200, 3)], 2).astype(np.uint8)

    images = [ramps(*size) for size in ((1, 1), (3, 5), (4, 600), (299, 7), (64, 64), (300, 640))]
    jpegs = [jpeg(image, quality=95) for image in images]
    jpegs += [jpeg(images[5][..., 0]), jpeg(images[5], progressive=True), jpeg(images[4], subsampling=0)]
    manifest, plan = indexed(jpegs, tmp_path), Plan(len(jpegs), 4, tail="exact")
    for views in (supervised(48), evaluation(48)):
        ours = make_loader(views, plan=plan, manifest=manifest, device=on)
        assert_near(ours.epoch(0), make_loader(views, ViewLoader, plan, manifest).epoch(0), views)
