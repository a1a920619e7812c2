"""The recipes match the published systems, and each can be drawn and rendered."""

import numpy as np
import pytest
import torch
from PIL import Image

from viewstream.augment.crops import crop_params, on_device, rest
from viewstream.augment.draw import draw
from viewstream.augment.recipes import VIEWS, ssl_small, views_of
from viewstream.augment.renderers import device, reference
from viewstream.augment.renderers.packing import pack
from viewstream.augment.spec import (
    INAT_MEAN,
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
from viewstream.shards.errors import UserError

N = 20_000


def test_the_published_orders_and_strengths():
    first, second = views_of("byol")
    assert first == (
        RandomResizedCrop(224, (0.08, 1.0)),
        ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8),
        GaussianBlur(p=1.0),
        Grayscale(),
        HorizontalFlip(),
        Normalize(),
    )
    assert [type(op) for op in second] == [
        RandomResizedCrop,
        ColorJitter,
        GaussianBlur,
        Grayscale,
        HorizontalFlip,
        Solarize,
        Normalize,
    ]
    assert (second[2].p, second[5].p, second[5].threshold) == (0.1, 0.2, 128)
    default = ssl_small()[0]
    assert default[1] == ColorJitter(1.2000000000000002, 1.2000000000000002, 1.2000000000000002, 0.5, p=0.8)
    assert (default[2].p, default[3].p) == (0.5, 0.5)
    assert views_of("ssl_small_cj1") == ssl_small(cj=1.0)
    assert ssl_small(cj=1.0)[0][1] == ColorJitter(0.8, 0.8, 0.8, 0.4, p=0.8)
    assert views_of("seed_moco_v1") == (views_of("moco_v1")[0],)
    assert views_of("seed_moco_v2") == (views_of("moco_v2")[0],)
    assert [type(op) for op in views_of("ssl_small_mask")[0]][-2:] == [Normalize, HideAndSeek]
    assert [type(op) for op in views_of("ltaug")[0]] == [RandomResizedCrop, HorizontalFlip, ColorJitter, Normalize]
    assert views_of("inat")[0][-1].mean == INAT_MEAN
    assert views_of("inat_slaug") == views_of("inat") * 2
    assert [view[:-1] for view in views_of("inat_slaug")] == [view[:-1] for view in views_of("slaug")]
    assert [type(op) for op in views_of("simclr")[0]] == [
        RandomResizedCrop,
        HorizontalFlip,
        ColorJitter,
        Grayscale,
        GaussianBlur,
        Normalize,
    ]
    assert views_of("simclr")[0][:3] == (
        RandomResizedCrop(224, (0.08, 1.0), filter="bicubic"),
        HorizontalFlip(),
        ColorJitter(0.8, 0.8, 0.8, 0.2, p=0.8),
    )
    assert views_of("simclr_cifar")[0][2] == ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8)
    assert views_of("simclr_sthalles")[0][4] == GaussianBlur((0.1, 2.0), p=1.0)
    assert views_of("sdclr_cifar", 32)[0][0] == RandomResizedCrop(32, (0.1, 1.0), filter="bicubic")
    for name in ("simclr", "simclr_cifar", "simclr_sthalles", "sdclr", "sdclr_cifar", "simclr_evaluation"):
        assert all(view[-1] == Normalize((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)) for view in views_of(name))
    assert views_of("simclr_evaluation")[0][0] == ResizeCenterCrop(224, 256, "bicubic")
    assert views_of("swav_large")[0][1:] == views_of("swav")[0][1:]
    assert views_of("transfer_evaluation")[0][0] == ResizeCenterCrop(224, 256, "bicubic")


CROPS = [  # recipe, how many large and small views, area of the small ones
    ("seed_patches", 1, 6, (0.05, 0.14)),
    ("swav", 2, 6, (0.05, 0.14)),
    ("dino", 2, 8, (0.05, 0.4)),
    ("dino_resnet", 2, 8, (0.05, 0.14)),
]


@pytest.mark.parametrize(("name", "large", "small", "area"), CROPS)
def test_multi_crop_recipes_have_large_and_small_views(name, large, small, area):
    views = views_of(name)
    assert [size_of(view) for view in views] == [224] * large + [96] * small
    assert {view[0].area for view in views[large:]} == {area}


def test_the_views_of_dino_share_all_but_blur_and_solarization():
    first, second, *small = views_of("dino")
    shared = (HorizontalFlip(), ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8), Grayscale(0.2))
    assert first == (RandomResizedCrop(224, (0.4, 1.0), filter="bicubic"), *shared, GaussianBlur(p=1.0), Normalize())
    assert second[:-1] == (*first[:4], GaussianBlur((0.1, 2.0), p=0.1), Solarize(0.2, 128))
    crop = RandomResizedCrop(96, (0.05, 0.4), filter="bicubic")
    assert set(small) == {(crop, *shared, GaussianBlur(p=0.5), Normalize())}
    large = views_of("dino_large")
    assert [view[0].area for view in large] == [(0.14, 1.0)] * 2
    assert [view[1:] for view in large] == [first[1:], second[1:]]


def test_an_unknown_recipe_suggests_the_nearest():
    with pytest.raises(UserError, match="unknown augmentation recipe 'moco_v3': did you mean 'moco_v"):
        views_of("moco_v3")


@pytest.mark.parametrize("name", VIEWS)
def test_every_recipe_renders_near_the_reference(name, photos):
    images = photos(8)
    hw = np.array([(i.height, i.width) for i in images])
    for number, view in enumerate(views_of(name, 64)[:3]):
        draws = draw(view, np.arange(8, dtype=np.uint64), hw, seed=0, epoch=0, number=number)
        size, boxes = size_of(view), crop_params(view, draws, hw)
        pixels = np.empty((8, size, size, 3), np.uint8)
        for image, box, out in zip(images, boxes, pixels, strict=True):
            resized_crop(np.asarray(image).reshape(-1), image.width, box, size, out.reshape(-1))
        packed = torch.from_numpy(pack(rest(view, draws), 8))
        ours = device.render(on_device(view), torch.from_numpy(pixels), packed)
        theirs = torch.stack([reference.render(view, image, draws, i) for i, image in enumerate(images)])
        std = next(op.std for op in view if isinstance(op, Normalize))
        gap = (ours - theirs).abs() * torch.tensor(std).view(3, 1, 1) * 255
        assert gap.mean() <= 2.2  # ssl-small and SwAV jitter two to three times as much as MoCo
        assert np.percentile(gap.numpy(), 99) <= 12


def near(share, p):
    return abs(share - p) < 4 * np.sqrt(p * (1 - p) / N)


def test_coins_sigmas_grids_and_cells_have_their_distributions():
    view = (
        RandomResizedCrop(224),
        Grayscale(0.2),
        GaussianBlur((0.1, 2.0), 0.5),
        HorizontalFlip(0.5),
        Solarize(0.3),
        Normalize(),
        HideAndSeek(),
    )
    drawn = draw(view, np.arange(N, dtype=np.uint64), np.full((N, 2), 300), seed=0, epoch=0, number=0)
    for place, p in ((1, 0.2), (2, 0.5), (3, 0.5), (4, 0.3)):
        assert near(drawn[place]["on"].mean(), p)
    sigma = drawn[2]["sigma"]
    counts = np.histogram(sigma, bins=32, range=(0.1, 2.0))[0]
    assert ((counts - N / 32) ** 2 / (N / 32)).sum() < 61.1  # chi-square, 31 degrees of freedom, p = 0.001
    grid, keep = drawn[6]["grid"], drawn[6]["keep"]
    assert all(near((grid == side).mean(), 0.25) for side in (0, 14, 28, 56))
    assert keep.shape == (N, 256)
    for side, cells in ((14, 256), (28, 64), (56, 16)):
        kept = keep[grid == side]
        assert np.abs(kept[:, :cells].mean(0) - 0.5).max() < 5 * 0.5 / np.sqrt(len(kept))
        assert kept[:, cells:].all()  # columns past this grid's last cell
    on = np.stack([d["on"] for d in drawn[1:5]])
    assert np.abs(np.corrcoef(on) - np.eye(4)).max() < 0.04  # coins are independent


@pytest.mark.full
def test_a_full_view_compiles_without_a_graph_break():
    from torch._dynamo import explain

    view = views_of("ssl_small_mask", 32)[0]
    drawn = draw(view, np.arange(4, dtype=np.uint64), np.full((4, 2), 60), seed=0, epoch=0, number=0)
    packed = torch.from_numpy(pack(rest(view, drawn), 4))
    pixels = torch.zeros(4, 32, 32, 3, dtype=torch.uint8)
    found = explain(lambda p, q: device.render(on_device(view), p, q, torch.bfloat16))(pixels, packed)
    assert found.graph_break_count == 0
    compiled = torch.compile(device.render, fullgraph=True, backend="aot_eager")
    ops = on_device(view)
    torch.testing.assert_close(compiled(ops, pixels, packed), device.render(ops, pixels, packed), rtol=0, atol=1e-5)


def test_hide_and_seek_hides_with_the_mean_color():
    view = (RandomResizedCrop(28), Normalize(), HideAndSeek(grids=(14,), hide=1.0))
    image = Image.new("RGB", (40, 40), "white")
    drawn = draw(view, np.arange(1, dtype=np.uint64), np.full((1, 2), 40), seed=0, epoch=0, number=0)
    assert not reference.render(view, image, drawn, 0).any()
