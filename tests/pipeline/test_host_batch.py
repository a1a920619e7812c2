"""Host batches: both kinds of pixels give the views, and buffers are used again where that is safe."""

import numpy as np
import pytest
import torch

from viewstream.pipeline.host_batch import BufferPool, CroppedViews, DecodedImages, HostBatch

SIZES = [4, 2]


def cropped(n):
    return CroppedViews(torch.arange(n * 3 * 20, dtype=torch.int64).to(torch.uint8), SIZES)


def decoded(n):
    """Images of 8 x 8 px and boxes of their upper left 4 x 4 px."""
    rng = np.random.default_rng(0)
    box = np.array([0, 0, 4, 4, 4, 4, 0, 0, 0, 0], np.int32)
    boxes = np.stack([box, box // 2], axis=0)[None].repeat(n, axis=0)
    flat = torch.from_numpy(rng.integers(0, 256, n * 8 * 8 * 3, dtype=np.uint8))
    return DecodedImages(flat, np.full((n, 2), 8), torch.from_numpy(boxes), SIZES)


@pytest.mark.parametrize("pixels", [cropped(3), decoded(3), cropped(0), decoded(0)], ids=repr)
def test_views_have_their_shapes(pixels):
    n = len(pixels.flat) // (3 * (20 if isinstance(pixels, CroppedViews) else 64))
    assert [tuple(view.shape) for view in pixels.views()] == [(n, 4, 4, 3), (n, 2, 2, 3)]


def test_cropped_views_share_the_flat_memory_view_after_view():
    pixels = cropped(3)
    assert torch.equal(torch.cat([view.reshape(-1) for view in pixels.views()]), pixels.flat)
    assert pixels.views()[0].data_ptr() == pixels.flat.data_ptr()


def test_whole_images_are_cropped_by_their_boxes():
    pixels = decoded(3)
    images = pixels.flat.view(3, 8, 8, 3)
    large, small = pixels.views()
    assert torch.equal(large, images[:, :4, :4])
    assert torch.equal(small, images[:, :2, :2])


@pytest.mark.parametrize("pixels", [cropped(2), decoded(2)], ids=["cropped", "decoded"])
def test_every_tensor_of_a_batch_is_moved_but_the_keys(pixels):
    batch = HostBatch(pixels, (torch.ones(2, 3), torch.ones(2, 0)), torch.ones(2, 2), torch.ones(2), torch.ones(2))
    moved = []
    copy = batch.map(lambda tensor: moved.append(tensor) or tensor.clone())
    assert len(moved) == (6 if isinstance(pixels, DecodedImages) else 5)
    assert copy.keys is batch.keys
    assert all(torch.equal(a, b) for a, b in zip(copy.pixels.views(), pixels.views(), strict=True))
    assert copy.pixels.flat.data_ptr() != pixels.flat.data_ptr()


def test_a_buffer_is_used_again_if_it_is_large_enough():
    pool = BufferPool(pinned=False, varying=False)
    first = pool.take(100)
    assert len(first) == 100
    pool.give_back(first)
    assert pool.take(80) is first
    pool.give_back(first)
    assert len(pool.take(101)) == 101
    assert pool.take(10) is not first  # too small for the one before, so it is gone


def test_buffers_of_varying_lengths_have_room_to_spare():
    assert len(BufferPool(pinned=False, varying=True).take(800)) == 900


def test_pinned_buffers_which_are_used_once_have_none(monkeypatch):
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, pin_memory, **more: empty(*size, **more))  # there is no GPU
    assert len(BufferPool(pinned=True, varying=True).take(800)) == 800
