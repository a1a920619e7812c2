"""The device renderer gives the pixels of the reference, from the same draws."""

import numpy as np
import pytest
import torch
from PIL import Image

from viewstream.augment.crops import crop_params, on_device, rest
from viewstream.augment.draw import draw
from viewstream.augment.recipes import evaluation, moco_v1, moco_v2
from viewstream.augment.renderers import device, reference
from viewstream.augment.renderers.packing import pack
from viewstream.augment.spec import (
    IMAGENET_STD,
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HideAndSeek,
    HorizontalFlip,
    Normalize,
    RandomResizedCrop,
    ResizeCenterCrop,
    Solarize,
    size_of,
)
from viewstream.pipeline.cut.resize import resized_crop

STD = torch.tensor(IMAGENET_STD).view(3, 1, 1)


def gaps(view, images):
    """Absolute differences to the reference in 8-bit levels, [N, 3, S, S]."""
    n, size = len(images), size_of(view)
    hw = np.array([(i.height, i.width) for i in images])
    draws = draw(view, np.arange(n, dtype=np.uint64), hw, seed=0, epoch=0, number=0)
    boxes = crop_params(view, draws, hw)
    pixels = np.empty((n, size, size, 3), np.uint8)
    for i, image in enumerate(images):
        resized_crop(np.asarray(image).reshape(-1), image.width, boxes[i], size, pixels[i].reshape(-1))
    ours = device.render(on_device(view), torch.from_numpy(pixels), torch.from_numpy(pack(rest(view, draws), n)))
    theirs = torch.stack([reference.render(view, image, draws, i) for i, image in enumerate(images)])
    return (ours - theirs).abs() * STD * 255


@pytest.fixture(scope="module")
def images(photos):
    return photos(24)


@pytest.mark.parametrize("size", [32, 96, 224])
@pytest.mark.parametrize("first", [RandomResizedCrop, lambda size: ResizeCenterCrop(size, round(size * 8 / 7))])
def test_the_host_crop_is_within_a_level_of_pil(images, size, first):
    gap = gaps((first(size), Normalize()), images)
    assert gap.mean() <= 0.3
    assert gap.max() <= 1.001


@pytest.mark.parametrize("size", [32, 96, 224])
@pytest.mark.parametrize(
    "first", [RandomResizedCrop, lambda size, filter: ResizeCenterCrop(size, round(size * 8 / 7), filter)]
)
def test_the_bicubic_crop_is_that_of_pil_within_rounding(images, size, first):
    gap = gaps((first(size, filter="bicubic"), Normalize()), images)
    assert gap.mean() <= 0.01
    assert gap.max() <= 1.001


def test_boxes_of_one_pixel_and_enlarging_crops_are_those_of_pil():
    rng = np.random.default_rng(0)
    thin = [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for h, w in ((1, 50), (50, 1), (2, 3))]
    assert gaps((RandomResizedCrop(32), Normalize()), thin).max() <= 1.001


@pytest.mark.parametrize(
    ("op", "mean", "largest"),
    [
        (HorizontalFlip(p=1), 0.3, 1.001),
        (Grayscale(p=1), 0.5, 2.1),
        (ColorJitter(0.4, 0, 0, 0), 1.0, 2.5),
        (ColorJitter(0, 0.4, 0, 0), 1.0, 3.5),
        (ColorJitter(0, 0, 0.4, 0), 1.0, 3.5),
        (ColorJitter(0, 0, 0, 0.1), 1.0, 16),  # the round trip through PIL's 8-bit HSV alone costs 15 levels
        (GaussianBlur(p=1), 0.7, 30),  # at the border, which PIL extends in each of three passes; inside 4
        (GaussianBlur(sigma=(1.0, 2.0), p=1), 0.7, 30),
    ],
)
def test_each_op_is_close_to_the_reference(images, op, mean, largest):
    gap = gaps((RandomResizedCrop(64), op, Normalize()), images)
    assert gap.mean() <= mean
    assert gap.max() <= largest


def test_solarize_inverts_the_pixels_that_the_reference_inverts():
    flat = [Image.fromarray(np.full((40, 40, 3), v, np.uint8)) for v in (0, 127, 128, 129, 255)]
    assert gaps((RandomResizedCrop(16), Solarize(p=1), Normalize()), flat).max() < 0.01


@pytest.mark.parametrize(("recipe", "mean"), [(moco_v1, 1.7), (moco_v2, 1.5), (evaluation, 0.3)])
def test_whole_views_are_within_the_parity_bounds(images, recipe, mean):
    for view in recipe(96):
        gap = gaps(view, images)
        assert gap.mean() <= mean
        assert np.percentile(gap.numpy(), 99) <= 8


def test_an_op_that_is_off_changes_nothing(images):
    off = (
        RandomResizedCrop(64),
        ColorJitter(0.4, 0.4, 0.4, 0.1, p=0),
        Grayscale(p=0),
        GaussianBlur(p=0),
        Solarize(p=0),
        HorizontalFlip(p=0),
        Normalize(),
    )
    assert gaps(off, images).max() <= 1.01


def test_hide_and_seek_hides_the_cells_that_the_reference_hides(images):
    for size in (32, 60):
        view = (RandomResizedCrop(size), Normalize(), HideAndSeek(grids=(0, 7, 14, 28)))
        gap = gaps(view, images)
        assert gap.max() <= 1.001
        draws = draw(view, np.arange(24, dtype=np.uint64), np.full((24, 2), 90), seed=0, epoch=0, number=0)
        assert set(draws[2]["grid"].tolist()) == {0, 7, 14, 28}
        assert 0 < draws[2]["keep"][draws[2]["grid"] == 7].mean() < 1


def test_views_have_the_requested_type_and_layout():
    view = moco_v2(32)[0]
    draws = draw(view, np.arange(4, dtype=np.uint64), np.full((4, 2), 60), seed=0, epoch=0, number=0)
    pixels, packed = torch.zeros(4, 32, 32, 3, dtype=torch.uint8), torch.from_numpy(pack(rest(view, draws), 4))
    out = device.render(on_device(view), pixels, packed, torch.bfloat16)
    assert out.dtype == torch.bfloat16
    assert out.shape == (4, 3, 32, 32)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_a_batch_renders_like_its_parts():
    view = moco_v2(32)[0]
    draws = draw(view, np.arange(8, dtype=np.uint64), np.full((8, 2), 60), seed=0, epoch=0, number=0)
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8))
    packed = torch.from_numpy(pack(rest(view, draws), 8))
    parts = [device.render(on_device(view), pixels[i : i + 2], packed[i : i + 2]) for i in range(0, 8, 2)]
    torch.testing.assert_close(device.render(on_device(view), pixels, packed), torch.cat(parts), rtol=0, atol=1e-5)
