"""Pixels of a static set equal those of the renderer that makes it, and those of the loader."""

import numpy as np
import simplejpeg
import torch

from viewstream.augment.crops import crop_params, on_device, rest
from viewstream.augment.draw import draw
from viewstream.augment.recipes import views_of
from viewstream.augment.renderers.device import render
from viewstream.augment.renderers.packing import pack
from viewstream.augment.spec import Normalize
from viewstream.pipeline.choose import open_loader, open_reader
from viewstream.pipeline.cut.resize import resized_crop
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.static.write import one_thread

from .frozen_views import SIZE, frozen


def levels(x):
    """[N, 3, S, S] in 0..1 -> [N, S, S, 3] uint8."""
    return (x * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def test_pixels_equal_the_device_renderer_before_it_normalizes(built):
    """0 levels for any batch; on one thread, because sums depend on the number of threads."""
    rows = np.arange(24)
    ours, reader = frozen(built, rows, renderer="device"), open_reader("folder", built)
    hw, images = built.hw[rows], [simplejpeg.decode_jpeg(reader.read(row)) for row in rows]
    for v, view in enumerate(views_of("moco_v2", SIZE)):
        drawn = draw(view, built.uid[rows], hw, seed=0, epoch=0, number=v)
        pixels = np.empty((len(rows), SIZE, SIZE, 3), np.uint8)
        for image, box, out in zip(images, crop_params(view, drawn, hw), pixels, strict=True):
            resized_crop(image.reshape(-1), image.shape[1], box, SIZE, out.reshape(-1))
        ops = tuple(op for op in on_device(view) if not isinstance(op, Normalize))
        with one_thread():
            expected = render(ops, torch.from_numpy(pixels), torch.from_numpy(pack(rest(view, drawn), len(rows))))
        np.testing.assert_array_equal(levels(expected), np.stack([files[1 + v] for files in ours]))
    for image, files in zip(images, ours, strict=True):
        np.testing.assert_array_equal(files[0], image)


def test_the_host_renderer_differs_by_one_level_in_few_of_100_000_values(built):
    """1.5 of them in photographs of 224 px; small views round more of theirs."""
    rows = np.arange(len(built))
    host, device = (frozen(built, rows, renderer=renderer) for renderer in ("host", "device"))
    gap = np.array([np.stack(a[1:]) - np.stack(b[1:]).astype(int) for a, b in zip(host, device, strict=True)])
    assert abs(gap).max() <= 1
    assert (gap != 0).mean() <= 4e-5


def test_pixels_equal_those_of_the_loader_in_epoch_0(built):
    """Within 1 level, since values come back from their normalization inexactly."""
    views = views_of("moco_v2", SIZE)
    loader = open_loader("folder", built, Plan(len(built), 24, seed=0), views, threads=1)
    batch = next(iter(loader.epoch(0)))
    loader.close()
    ours = frozen(built, batch.index.numpy())
    op = views[0][-1]
    for v, x in enumerate(batch.views):
        mean, std = (torch.tensor(c).view(3, 1, 1) for c in (op.mean, op.std))
        gap = levels(x * std + mean).astype(int) - np.stack([files[1 + v] for files in ours])
        assert abs(gap).max() <= 1
        assert (gap != 0).mean() < 1e-3
