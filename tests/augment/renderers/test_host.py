"""The host renderer gives the values of the device renderer."""

import numpy as np
import pytest
import torch

from viewstream.augment.crops import on_device, rest
from viewstream.augment.draw import draw
from viewstream.augment.recipes import VIEWS, views_of
from viewstream.augment.renderers import device, host
from viewstream.augment.renderers.packing import pack
from viewstream.augment.spec import size_of


def drawn(view, n, seed=0):
    """Noise images and packed parameters of a view."""
    rng, size = np.random.default_rng(seed), size_of(view)
    coarse = torch.from_numpy(rng.integers(0, 256, (n, 3, 7, 7)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").permute(0, 2, 3, 1)
    noise = torch.from_numpy(rng.integers(-9, 10, (n, size, size, 3)))
    pixels = (smooth + noise).clamp(0, 255).to(torch.uint8).contiguous()
    draws = draw(view, np.arange(n, dtype=np.uint64), np.full((n, 2), 300), seed=seed, epoch=0, number=0)
    return pixels, torch.from_numpy(pack(rest(view, draws), n))


@pytest.mark.parametrize("name", VIEWS)
def test_every_recipe_is_within_a_thousandth_of_a_level_of_the_device_renderer(name):
    for view in set(views_of(name, 48)):
        pixels, packed = drawn(view, 24)
        ours = host.render(on_device(view), pixels, packed)
        theirs = device.render(on_device(view), pixels, packed)
        assert (ours - theirs).abs().max() * 0.23 * 255 < 1e-2  # at the few pixels where a comparison flips
        assert (ours - theirs).abs().mean() * 0.23 * 255 < 1e-3


@pytest.mark.parametrize("n", [1, 5, 8])
def test_an_image_does_not_depend_on_threads_or_batch(n):
    view = views_of("byol", 40)[1]
    pixels, packed = drawn(view, n)
    whole = host.render(on_device(view), pixels, packed)
    assert torch.equal(host.threaded(3)(on_device(view), pixels, packed), whole)
    for row in range(n):
        alone = host.render(on_device(view), pixels[row : row + 1], packed[row : row + 1])
        assert torch.equal(alone[0], whole[row])


def test_views_have_the_requested_type_and_layout():
    view = views_of("moco_v2", 32)[0]
    pixels, packed = drawn(view, 4)
    out = host.render(on_device(view), pixels, packed, torch.bfloat16)
    assert (out.dtype, tuple(out.shape)) == (torch.bfloat16, (4, 3, 32, 32))
    assert out.is_contiguous(memory_format=torch.channels_last)
