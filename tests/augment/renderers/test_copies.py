"""Crops, views and ops of the user on a GPU never wait for it, and stay in their type within autocast. Needs no GPU."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from viewstream.augment.crops import on_device, rest
from viewstream.augment.draw import draw
from viewstream.augment.recipes import VIEWS, evaluation, views_of
from viewstream.augment.renderers import device, resample
from viewstream.augment.renderers.packing import pack
from viewstream.augment.renderers.user_ops import apply_user_ops
from viewstream.augment.spec import size_of

from ...fake_gpu import Crossings, tensors

pytestmark = pytest.mark.usefixtures("fake_gpu")
HW = np.array([[40, 50], [60, 30], [25, 70], [9, 9]])


class Types(TorchDispatchMode):
    """Collects the types of the floats that operations return."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.seen |= {t.dtype for t in tensors(out) if t.is_floating_point()}
        return out


def rendered(view):
    draws = draw(view, np.arange(4, dtype=np.uint64), np.full((4, 2), 60), seed=0, epoch=0, number=0)
    packed = torch.empty(4, pack(rest(view, draws), 4).shape[1], device="cuda")
    pixels = torch.empty(4, size_of(view), size_of(view), 3, dtype=torch.uint8, device="cuda")
    return device.render(on_device(view), pixels, packed)


def cropped(dtype=torch.float16):
    flat = torch.empty(int(3 * HW.prod(axis=1).sum()), dtype=torch.uint8, device="cuda")
    boxes = torch.empty(4, 10, dtype=torch.int32, device="cuda")
    return [resample.resized_crop(c, boxes[part], 24, dtype) for part, c in resample.unpack(flat, HW)]


def noisy():
    def noise(x, keyed):
        return x + keyed.normal(*x.shape[1:]) * (keyed.uniform(1, 1, 1) < 0.5)

    def mixed(x, keyed):
        return (x.flatten(1) @ x.flatten(1).T @ x.flatten(1)).view_as(x)

    x, keys = torch.empty(4, 3, 8, 8, device="cuda"), torch.empty(4, dtype=torch.int64, device="cuda")
    return apply_user_ops((*evaluation(8)[0], noise, mixed), x, keys)


def in_autocast(make):
    with torch.autocast("cuda", torch.bfloat16), Types() as types:
        torch.empty(4, 4, device="cuda") @ torch.empty(4, 4, device="cuda")
        assert types.seen == {torch.float32, torch.bfloat16}  # it is on
        types.seen.clear()
        make()
    return types.seen


@pytest.mark.parametrize("name", VIEWS)
def test_rendering_on_a_gpu_copies_nothing_from_the_host_and_reads_nothing_back(name):
    for view in dict.fromkeys(views_of(name, 32)):
        with Crossings() as crossings:
            out = rendered(view)
        assert out.device.type == "cuda"
        assert not crossings.seen


def test_device_crops_copy_nothing_but_pinned_sizes_and_read_nothing_back(monkeypatch):
    monkeypatch.setattr(resample, "MAX_CANVAS", 20_000)
    with Crossings() as crossings:
        parts = cropped()
    assert len(parts) > 1
    assert {part.device.type for part in parts} == {"cuda"}
    assert not crossings.seen


def test_user_ops_on_a_gpu_copy_nothing_from_the_host_and_read_nothing_back():
    with Crossings() as crossings:
        out = noisy()
    assert out.device.type == "cuda"
    assert not crossings.seen


@pytest.mark.parametrize("name", VIEWS)
def test_views_on_a_gpu_are_float32_throughout_within_autocast(name):
    for view in dict.fromkeys(views_of(name, 32)):
        assert in_autocast(lambda view=view: rendered(view)) == {torch.float32}


def test_device_crops_and_user_ops_keep_their_types_within_autocast():
    assert in_autocast(cropped) == {torch.float32, torch.float16}
    assert in_autocast(lambda: cropped(torch.float32)) == {torch.float32}
    assert in_autocast(noisy) == {torch.float32}
