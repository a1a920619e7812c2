"""The device crops are those of the host."""

import numpy as np
import pytest
import torch

from viewstream.augment.crops import crop_params
from viewstream.augment.draw import draw
from viewstream.augment.renderers.resample import SIDE, canvas, resized_crop, unpack
from viewstream.augment.spec import HorizontalFlip, Normalize, RandomResizedCrop, ResizeCenterCrop
from viewstream.pipeline.cut import resize


def both(view, images, dtype=torch.float32):
    """The same crops by the host's kernel and by matrix products, [N, S, S, 3] int each."""
    arrays = [np.asarray(image) for image in images]
    hw, size = np.array([a.shape[:2] for a in arrays]), view[0].size
    draws = draw(view, np.arange(len(images), dtype=np.uint64), hw, seed=0, epoch=0, number=0)
    boxes = crop_params(view, draws, hw)
    host = np.empty((len(images), size, size, 3), np.uint8)
    for array, box, out in zip(arrays, boxes, host, strict=True):
        resize.resized_crop(array.reshape(-1), array.shape[1], box, size, out.reshape(-1))
    device = resized_crop(torch.from_numpy(canvas(arrays)), torch.from_numpy(boxes), size, dtype).numpy()
    return host.astype(int), device.astype(int)


@pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [32, 96, 224])
def test_crops_flips_and_centers_are_within_a_level_of_the_host(size, filter, photos):
    images = photos(16)
    for view in (
        (RandomResizedCrop(size, filter=filter), HorizontalFlip(), Normalize()),
        (ResizeCenterCrop(size, size + 5, filter), HorizontalFlip(), Normalize()),
    ):
        host, device = both(view, images)
        gap = np.abs(host - device)
        assert gap.max() <= 1
        assert gap.mean() < 0.05


def test_boxes_of_one_pixel_and_strong_shrinking_are_within_a_level_too():
    rng = np.random.default_rng(0)
    thin = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((1, 50), (50, 1), (2, 3), (700, 900))]
    host, device = both((RandomResizedCrop(24), HorizontalFlip(), Normalize()), thin)
    assert np.abs(host - device).max() <= 1


def test_half_precision_costs_at_most_one_more_level(photos):
    host, device = both((RandomResizedCrop(64), HorizontalFlip(), Normalize()), photos(16), torch.float16)
    assert np.abs(host - device).max() <= 2
    assert np.abs(host - device).mean() < 0.2


def test_a_canvas_holds_its_images_and_has_sides_that_fast_products_take():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((9, 50), (33, 7), (16, 16))]
    flat, hw = (
        torch.from_numpy(np.concatenate([i.reshape(-1) for i in images])),
        np.array([i.shape[:2] for i in images]),
    )
    ((part, found),) = unpack(flat, hw)
    assert found.shape == (3, 40, 56, 3)
    assert not any(side % SIDE for side in found.shape[1:3])
    for image, place in zip(images[part], found.numpy(), strict=True):
        np.testing.assert_array_equal(place[: len(image), : image.shape[1]], image)


@pytest.mark.full
def test_the_device_crop_compiles_without_a_graph_break():
    from torch._dynamo import explain

    boxes = torch.tensor([[0, 0, 30, 40, 16, 16, 0, 0, 1, 0]] * 2, dtype=torch.int32)
    found = explain(lambda p, b: resized_crop(p, b, 16))(torch.zeros(2, 40, 50, 3, dtype=torch.uint8), boxes)
    assert found.graph_break_count == 0
