"""Launches and bytes of views and device crops on a GPU, counted without one: two MoCo v2 views of 256 images."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from viewstream.augment.crops import on_device
from viewstream.augment.recipes import moco_v2
from viewstream.augment.renderers import device, resample
from viewstream.augment.renderers.packing import width
from viewstream.pipeline.host_batch import DecodedImages

from ...fake_gpu import Counted
from .triton_code import kernels

N, SIZE = 256, 224
OPS = on_device(moco_v2(SIZE)[0])
PIXELS = (N, SIZE, SIZE, 3), torch.uint8
PACKED = (N, sum(width(op, SIZE) for op in OPS)), torch.float32
HW = np.array([[400, 500], [500, 400]] * (N // 2))


@pytest.fixture
def no_autocast(monkeypatch):
    """A graph is recorded here, and autocast with a GPU that is not there would only warn."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())


def generated(function, *shapes):
    pytest.importorskip("triton")
    try:
        return np.array(kernels(function, *shapes))
    except (ImportError, AttributeError) as error:
        pytest.skip(f"the code generator of torch {torch.__version__} has other names: {error}")


@pytest.mark.full
def test_two_compiled_views_take_few_kernels_that_each_pass_over_memory_once(no_autocast):
    found = generated(lambda pixels, packed: device.render(OPS, pixels, packed, torch.bfloat16), PIXELS, PACKED)
    assert 2 * len(found) <= 16
    assert 2 * found.sum() <= 2.5e9


def test_a_compiled_device_crop_takes_few_kernels_beside_its_products(no_autocast):
    rows, boxes = ((64, 500, 3, 500), torch.float16), ((64, 10), torch.int32)  # a part of a batch
    found = generated(lambda x, boxes: resample.crop(x, boxes, SIZE), rows, boxes)
    assert len(found) <= 4
    assert 2 * N / 64 * found.sum() <= 1.3e9


@pytest.mark.usefixtures("fake_gpu")
def test_an_eager_view_passes_over_memory_no_more_than_one_of_whole_images_would():
    pixels, packed = (torch.empty(shape, dtype=dtype, device="cuda") for shape, dtype in (PIXELS, PACKED))
    with Counted() as counted:
        device.render(OPS, pixels, packed, torch.bfloat16)
    assert 2 * counted.total <= 450
    assert 2 * counted.gigabytes <= 40


@pytest.mark.usefixtures("fake_gpu")
def test_device_crops_launch_nothing_for_each_image():
    flat = torch.empty(int(3 * HW.prod(axis=1).sum()), dtype=torch.uint8, device="cuda")
    with Counted() as counted:
        parts = len(list(resample.unpack(flat, HW)))
    assert counted.total <= 1 + 12 * parts
    batch = DecodedImages(flat, HW, torch.empty(N, 2, 10, dtype=torch.int32, device="cuda"), [SIZE, SIZE])
    with Counted() as counted:
        batch.views()
    assert counted.total <= 650
