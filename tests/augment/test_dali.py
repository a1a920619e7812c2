"""The DALI renderer paints what the reference paints, alone or with the device renderer going on."""

import functools
import sys

import numpy as np
import pytest
import simplejpeg
import torch
from PIL import Image

from viewstream.augment import device, reference
from viewstream.augment.dali import Renderer, rest, split
from viewstream.augment.draw import draw
from viewstream.augment.recipes import evaluation, moco_v1, moco_v2, seed_patches, ssl_small_mask, supervised
from viewstream.augment.spec import (
    Blur,
    Crop,
    Flip,
    Grey,
    Jitter,
    Mask,
    Normalize,
    Op,
    ResizeCenterCrop,
    Solarize,
    size_of,
)
from viewstream.shards.errors import UserError

SAMPLES = 24
NORM = Normalize()
STD = torch.tensor(NORM.std).view(3, 1, 1)
ON = [
    "cpu",
    pytest.param("gpu", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")]),
]


@pytest.fixture(scope="module")
def jpegs(photos):
    pytest.importorskip("nvidia.dali", reason="DALI is not installed: the extra 'dali' brings it")
    return [simplejpeg.encode_jpeg(np.asarray(i), 95, colorsubsampling="444") for i in photos(SAMPLES)]


@functools.cache
def renderer(views, on):
    return Renderer(views, SAMPLES, on, threads=2)


def decoded(jpegs):
    images = [Image.fromarray(simplejpeg.decode_jpeg(jpeg)) for jpeg in jpegs]
    return images, np.array([(i.height, i.width) for i in images])


def drawn(views, hw, ids):
    ids = np.asarray(ids, np.uint64)
    return [draw(view, ids, hw, seed=0, epoch=0, number=number) for number, view in enumerate(views)]


def rendered(views, jpegs, on, ids=None):
    """Finished views on the CPU, by DALI and where need be the device renderer."""
    hw = decoded(jpegs)[1]
    draws = drawn(views, hw, range(len(jpegs)) if ids is None else ids)
    out = []
    for view, draw_, x in zip(views, draws, renderer(views, on)(jpegs, hw, draws), strict=True):
        left, size = split(view)[1], size_of(view)
        assert x.shape == ((len(jpegs), size, size, 3) if left else (len(jpegs), 3, size, size))
        if left:
            assert x.dtype == torch.uint8
            x = device.render(left, x, torch.from_numpy(device.pack(rest(view, draw_), len(x))).to(x.device))
        assert x.dtype == torch.float32
        assert x.is_contiguous(memory_format=torch.channels_last)
        out.append(x.cpu())
    return out


def gaps(views, jpegs, on):
    """Absolute differences to the reference in 8-bit levels, [N, 3, S, S] a view."""
    images, hw = decoded(jpegs)
    for view, draw_, x in zip(views, drawn(views, hw, range(len(jpegs))), rendered(views, jpegs, on), strict=True):
        theirs = torch.stack([reference.render(view, image, draw_, i) for i, image in enumerate(images)])
        yield (x - theirs).abs() * STD * 255


def levels(x):
    return (x * STD + torch.tensor(NORM.mean).view(3, 1, 1)) * 255


def test_dali_takes_what_stands_before_the_first_jitter_and_every_flip():
    jitter, crop = Jitter(0.4, 0.4, 0.4, 0.1), Crop(32)
    assert split((crop, Grey(), jitter, Blur(), Flip(), NORM)) == ((crop, Grey(), Flip()), (jitter, Blur(), NORM))
    whole = (crop, Blur(), Grey(), Flip(), Solarize(), NORM)
    assert split(whole) == (whole, ())
    assert split((crop, Grey(), NORM, Mask())) == ((crop, Grey()), (NORM, Mask()))


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize("size", [32, 96, 224])
def test_cuts_are_pils_resize(jpegs, size, on):
    firsts: list[Op] = []
    for filter in ("bilinear", "bicubic"):
        firsts += [Crop(size, filter=filter), ResizeCenterCrop(size, round(size * 8 / 7), filter)]
    for gap in gaps(tuple((first, NORM) for first in firsts), jpegs, on):
        assert gap.mean() <= 0.5
        assert gap.max() <= 8  # in the outermost pixels, where DALI repeats the box's edge
        assert gap[:, :, 1:-1, 1:-1].max() <= 5


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize("size", [32, 96, 224])
def test_each_op_stays_near_the_reference(jpegs, size, on):
    ops = {Grey(p=1): (0.5, 8), Blur(p=1): (0.7, 30), Blur(sigma=(1.0, 2.0), p=1): (0.7, 30)}
    for gap, (mean, most) in zip(gaps(tuple((Crop(size), o, NORM) for o in ops), jpegs, on), ops.values(), strict=True):
        assert gap.mean() <= mean
        assert gap.max() <= most


@pytest.mark.parametrize("on", ON)
def test_flip_and_solarize_are_exact(jpegs, on):
    def one(*ops):  # each as view 0: the same boxes for all
        return levels(rendered(((Crop(64), *ops, NORM),), jpegs, on)[0])

    plain = one()
    torch.testing.assert_close(one(Flip(1)), plain.flip(3), rtol=0, atol=0.001)
    inverted = torch.where(plain > 127.5, 255 - plain, plain)
    torch.testing.assert_close(one(Solarize(1)), inverted, rtol=0, atol=0.001)
    torch.testing.assert_close(one(Solarize(1, 256)), plain, rtol=0, atol=0.001)


@pytest.mark.parametrize("on", ON)
def test_an_op_that_is_off_leaves_the_picture_alone(jpegs, on):
    (plain,) = rendered(((Crop(64), NORM),), jpegs, on)
    never = (Crop(64), Grey(p=0), Blur(p=0), Solarize(p=0), Flip(p=0), NORM)
    assert torch.equal(rendered((never,), jpegs, on)[0], plain)
    for op in (Grey(p=0.5), Blur(), Solarize(p=0.5), Flip()):
        view = (Crop(64), op, NORM)
        off = torch.from_numpy(~drawn((view,), decoded(jpegs)[1], range(SAMPLES))[0][1]["on"])
        assert 0 < off.sum() < SAMPLES
        assert torch.equal(rendered((view,), jpegs, on)[0][off], plain[off])


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize("size", [32, 96, 224])
def test_whole_views_stay_within_the_parity_bounds(jpegs, size, on):
    byol_like = (Crop(size, (0.08, 1.0)), Blur(p=1.0), Grey(), Flip(), Solarize(), NORM)
    in_dali = (*evaluation(size), *supervised(size), byol_like)
    assert not any(split(view)[1] for view in in_dali)
    for gap in gaps((*in_dali, moco_v2(size)[0]), jpegs, on):
        assert gap.mean() <= 1.5
        assert np.percentile(gap.numpy(), 99) <= 8


@pytest.mark.parametrize("on", ON)
def test_grey_before_the_jitter_and_a_mask_behind_it_are_shared_out(jpegs, on):
    for gap in gaps((moco_v1(64)[0], ssl_small_mask(64)[0]), jpegs, on):
        assert gap.mean() <= 1.7  # as tests/augment/test_device.py for MoCo v1
        assert np.percentile(gap.numpy(), 99) <= 8


@pytest.mark.parametrize("on", ON)
def test_a_mask_behind_normalize_goes_on_from_pixels(jpegs, on):
    (gap,) = gaps(((Crop(60), Grey(), NORM, Mask(grids=(0, 7, 14))),), jpegs, on)
    assert gap.mean() <= 0.5
    assert gap.max() <= 8


@pytest.mark.parametrize("on", ON)
def test_many_views_of_two_sizes_come_from_one_decode(jpegs, on):
    views = seed_patches(64)
    assert [size_of(view) for view in views] == [64] + [27] * 6
    assert all(gap.mean() <= 1.5 for gap in gaps(views, jpegs, on))


@pytest.mark.parametrize("on", ON)
def test_a_sample_renders_alike_in_any_batch_and_outputs_outlive_the_next_call(jpegs, on):
    views = ((Crop(64), Blur(), Grey(), Solarize(), Flip(), NORM), *supervised(32))
    whole = rendered(views, jpegs, on)
    kept = [x.clone() for x in whole]
    for ids in ([5], list(range(SAMPLES))[::-1], [3, 17, 4, 20, 3]):
        part = rendered(views, [jpegs[i] for i in ids], on, ids)
        assert all(torch.equal(x, y[ids]) for x, y in zip(part, whole, strict=True))
    assert all(map(torch.equal, whole, kept))


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize("spoil", [lambda j: b"no JPEG", lambda j: b"", lambda j: j[: len(j) // 2]])
def test_a_damaged_jpeg_is_named_and_the_next_batch_is_whole(jpegs, spoil, on):
    views, hw = supervised(32), decoded(jpegs)[1]
    before = rendered(views, jpegs, on)
    with pytest.raises(UserError, match="sample 7 of the batch is damaged"):
        renderer(views, on)([*jpegs[:7], spoil(jpegs[7]), *jpegs[8:]], hw, drawn(views, hw, range(SAMPLES)))
    assert all(map(torch.equal, before, rendered(views, jpegs, on)))


@pytest.mark.parametrize("on", ON)
def test_boxes_drawn_for_another_size_are_refused(jpegs, on):
    views, hw = supervised(32), decoded(jpegs)[1]
    hw[3] -= 1
    with pytest.raises(UserError, match="sample 3 of the batch is"):
        renderer(views, on)(jpegs, hw, drawn(views, hw, range(SAMPLES)))


def test_without_dali_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(UserError, match=r"viewstream\[dali\]"):
        Renderer(supervised(32), 4)
    with pytest.raises(UserError, match="unknown DALI device 'cuda'"):
        Renderer(supervised(32), 4, "cuda")
