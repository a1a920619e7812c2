"""The kornia renderer executes the same draws: close to the reference, equal to the device renderer but for blurs."""

import numpy as np
import pytest
import torch
from kornia import augmentation as K
from PIL import Image

from viewstream.augment.crops import on_device, rest
from viewstream.augment.draw import draw
from viewstream.augment.recipes import VIEWS, moco_v2
from viewstream.augment.renderers import device, kornia, reference
from viewstream.augment.renderers.packing import half_kernels, pack, reach, width
from viewstream.augment.spec import (
    IMAGENET_STD,
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HideAndSeek,
    Normalize,
    ResizeCenterCrop,
    Solarize,
    size_of,
)

from ...fake_gpu import Crossings

N = 12
DIFFERENT = list({on_device(view): view for recipe in VIEWS.values() for view in recipe(32)}.values())
STD = torch.tensor(IMAGENET_STD).view(3, 1, 1)


def inputs(view, images=None):
    """Square pixels that the view takes whole, the draws and their packed form."""
    size = size_of(view)
    if images is None:
        rng = np.random.default_rng(0)
        images = [Image.fromarray(rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)) for _ in range(N)]
    pixels = np.stack([np.asarray(i.resize((size, size), Image.Resampling.BICUBIC)) for i in images])
    draws = draw(
        view, np.arange(len(pixels), dtype=np.uint64), np.full((len(pixels), 2), size), seed=0, epoch=0, number=0
    )
    return torch.from_numpy(pixels), draws, torch.from_numpy(pack(rest(view, draws), len(pixels)))


def gap(view, images):
    """Absolute differences to the reference in 8-bit levels."""
    pixels, draws, packed = inputs(view, images)
    ours = kornia.render(on_device(view), pixels, packed)
    theirs = [reference.render(view, Image.fromarray(x), draws, i) for i, x in enumerate(pixels.numpy())]
    return (ours - torch.stack(theirs)).abs() * STD * 255


@pytest.fixture(scope="module")
def images(photos):
    return photos(24)


@pytest.mark.parametrize(
    ("op", "mean", "largest"),
    [
        (Grayscale(p=1), 0.5, 2.1),
        (Grayscale(p=0.5), 0.5, 2.1),
        (ColorJitter(0.4, 0, 0, 0), 1.0, 2.5),
        (ColorJitter(0, 0.4, 0, 0), 1.0, 3.5),
        (ColorJitter(0, 0, 0.4, 0), 1.0, 3.5),
        (ColorJitter(0, 0, 0, 0.1), 1.0, 16),  # the round trip through PIL's 8-bit HSV alone costs 15 levels
        (ColorJitter(0.4, 0.4, 0.4, 0.1), 1.7, 24),
        (ColorJitter(0.4, 0.4, 0.4, 0.1, p=0), 0.01, 0.01),
        (GaussianBlur(p=1), 0.9, 33),  # a Gaussian, and at the border, which PIL extends in each of three passes
        (GaussianBlur(p=0), 0.01, 0.01),
        (Solarize(p=0.5), 0.01, 0.01),
        (Solarize(p=1, threshold=256), 0.01, 0.01),
    ],
)
def test_each_op_is_close_to_the_reference(images, op, mean, largest):
    found = gap((ResizeCenterCrop(64, 64), op, Normalize()), images)
    assert found.mean() <= mean
    assert found.max() <= largest


def test_hide_and_seek_hides_the_cells_that_the_reference_hides(images):
    assert gap((ResizeCenterCrop(32, 32), Normalize(), HideAndSeek(grids=(0, 7, 14, 28))), images).max() <= 0.01


@pytest.mark.parametrize("number", range(len(DIFFERENT)))
def test_every_recipe_gives_the_pixels_of_the_device_renderer_but_for_the_kernel_of_a_blur(number):
    view = DIFFERENT[number]
    pixels, _, packed = inputs(view)
    ops = on_device(view)
    levels = (kornia.render(ops, pixels, packed) - device.render(ops, pixels, packed)).abs() * 255 / 4
    blurs = any(isinstance(op, GaussianBlur) for op in ops)
    assert levels.mean() <= (1 if blurs else 1e-4)
    if not any(isinstance(op, Solarize) for op in ops):  # which inverts a pixel that a blur moves over its threshold
        assert levels.max() <= (12 if blurs else 1e-2)


def test_the_blur_is_that_of_kornias_random_gaussian_blur():
    x, sigma, op = torch.rand(5, 3, 20, 20), torch.tensor([0.1, 0.5, 1.0, 1.7, 2.0]), GaussianBlur()
    packed = torch.from_numpy(half_kernels(sigma.double().numpy(), reach(op))).float()
    theirs = K.RandomGaussianBlur((2 * reach(op) + 1,) * 2, op.sigma, border_type="replicate", p=1)
    torch.testing.assert_close(
        kornia._blur(x, packed, reach(op)), theirs(x, params={"sigma": sigma}), rtol=0, atol=1e-5
    )


def test_an_image_is_rendered_alike_in_every_batch_and_order():
    view = VIEWS["byol"](32)[1]
    pixels, _, packed = inputs(view)
    whole = kornia.render(on_device(view), pixels, packed)
    for picks in ([3], [11, 0, 3], list(range(6, 12))):
        part = kornia.render(on_device(view), pixels[picks], packed[picks])
        torch.testing.assert_close(part, whole[picks], rtol=0, atol=1e-5)
    empty = kornia.render(on_device(view), pixels[:0], packed[:0])
    assert empty.shape == (0, 3, 32, 32)


def test_autocast_around_the_renderer_changes_nothing():
    view = moco_v2(32)[0]
    pixels, _, packed = inputs(view)
    right = kornia.render(on_device(view), pixels, packed)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(kornia.render(on_device(view), pixels, packed), right)


def test_views_have_the_requested_type_and_layout():
    view = moco_v2(32)[0]
    pixels, _, packed = inputs(view)
    out = kornia.render(on_device(view), pixels, packed, torch.bfloat16)
    assert out.dtype == torch.bfloat16
    assert out.shape == (N, 3, 32, 32)
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("number", range(len(DIFFERENT)))
def test_rendering_on_a_gpu_waits_for_nothing(number, request):
    ops = on_device(DIFFERENT[number])
    size = size_of(DIFFERENT[number])
    columns = sum(width(op, size) for op in ops)
    kornia.render(ops, torch.zeros(1, size, size, 3, dtype=torch.uint8), torch.zeros(1, columns))  # kornia's modules
    request.getfixturevalue("fake_gpu")
    with Crossings() as crossings:
        pixels = torch.empty(4, size, size, 3, dtype=torch.uint8, device="cuda")
        out = kornia.render(ops, pixels, torch.empty(4, columns, device="cuda"), torch.bfloat16)
    assert (out.device.type, out.dtype) == ("cuda", torch.bfloat16)
    assert not crossings.seen


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_a_gpu_gives_the_pixels_of_a_cpu_without_a_wait():
    view = moco_v2(32)[0]
    ops, (pixels, _, packed) = on_device(view), inputs(view)
    there = pixels.cuda(), packed.cuda()
    kornia.render(ops, *there)  # kernels are loaded
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = kornia.render(ops, *there)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(found.cpu(), kornia.render(ops, pixels, packed), rtol=0, atol=1e-3)
