"""Autocast around crops, views and ops of the user changes none of their pixels."""

import numpy as np
import torch

from viewstream.augment.crops import crop_params, on_device, rest
from viewstream.augment.draw import draw
from viewstream.augment.recipes import evaluation, moco_v2
from viewstream.augment.renderers import device, resample
from viewstream.augment.renderers.packing import pack
from viewstream.augment.renderers.user_ops import apply_user_ops


def both(make):
    """What `make` returns outside and within autocast."""
    outside = make()
    with torch.autocast("cpu", torch.bfloat16):
        return outside, make()


def pixels_of(n, size):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8))


def test_a_view_within_autocast_is_that_outside_of_it():
    view = moco_v2(32)[0]
    draws = draw(view, np.arange(8, dtype=np.uint64), np.full((8, 2), 60), seed=0, epoch=0, number=0)
    packed = torch.from_numpy(pack(rest(view, draws), 8))
    assert torch.equal(*both(lambda: device.render(on_device(view), pixels_of(8, 32), packed)))


def test_a_device_crop_within_autocast_is_that_outside_of_it():
    view, hw = moco_v2(24)[0], np.full((8, 2), 40)
    draws = draw(view, np.arange(8, dtype=np.uint64), hw, seed=0, epoch=0, number=0)
    boxes = torch.from_numpy(crop_params(view, draws, hw))
    assert torch.equal(*both(lambda: resample.resized_crop(pixels_of(8, 40), boxes, 24)))


def test_a_user_op_within_autocast_gives_what_it_gives_outside_of_it():
    x, keys = torch.rand(4, 3, 8, 8), torch.arange(4)
    view = (*evaluation(8)[0], lambda x, keyed: torch.nn.functional.avg_pool2d(x @ x, 3, 1, 1))
    assert torch.equal(*both(lambda: apply_user_ops(view, x, keys)))
