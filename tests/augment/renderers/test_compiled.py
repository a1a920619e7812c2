"""The compiled renderer and crops: one graph each, the pixels of the eager ones, and no compiling again."""

import dis
from functools import partial
from inspect import getmembers, isfunction

import numpy as np
import pytest
import torch

from viewstream.augment.crops import crop_params, on_device, rest
from viewstream.augment.draw import draw
from viewstream.augment.recipes import views_of
from viewstream.augment.renderers import compiler, device, packing, resample
from viewstream.augment.renderers.packing import pack
from viewstream.augment.spec import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    HideAndSeek,
    HorizontalFlip,
    Normalize,
    RandomResizedCrop,
    Solarize,
)
from viewstream.shards.errors import UserError

CUDA = torch.device("cuda")
OPS = [
    ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
    Grayscale(p=0.5),
    GaussianBlur(p=0.5),
    GaussianBlur((3.0, 5.0), p=1.0),  # reaches past a small image
    Solarize(p=0.5),
    HideAndSeek(grids=(0, 4, 8)),
]
QUICK = (ColorJitter, HideAndSeek)


@pytest.fixture(autouse=True)
def graphs_alone(monkeypatch):
    """torch.compile traces and decomposes, but generates no code, which takes a minute here; the long test does."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager_decomp_partition"))
    yield
    device._compiled.cache_clear()
    resample.compiled.cache_clear()


def inputs(view, n=8, size=16):
    """Ops, pixels and parameters of a batch."""
    draws = draw(view, np.arange(n, dtype=np.uint64), np.full((n, 2), 60), seed=0, epoch=0, number=0)
    pixels = np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    return on_device(view), torch.from_numpy(pixels), torch.from_numpy(pack(rest(view, draws), n))


def compilations():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.parametrize(
    "op", [op if isinstance(op, QUICK) else pytest.param(op, marks=pytest.mark.full) for op in OPS]
)
def test_each_op_compiles_to_one_graph_with_the_pixels_of_the_eager_renderer(op):
    batch = inputs((RandomResizedCrop(16), op, Normalize()))
    ours, eager = device.compiled(8)(*batch), device.render(*batch)
    torch.testing.assert_close(ours, eager, rtol=0, atol=3e-6)
    assert ours.stride() == eager.stride()


def test_what_is_compiled_matches_no_classes_which_torch_before_2_12_cannot_trace():
    compiled = [function for module in (device, resample) for _, function in getmembers(module, isfunction)]
    for function in (*compiled, packing.width, packing.reach):
        assert "MATCH_CLASS" not in {step.opname for step in dis.get_instructions(function)}, function


def test_a_compiled_view_within_autocast_is_that_outside_of_it():
    batch = inputs(views_of("moco_v2", 16)[0])
    outside = device.compiled(8)(*batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(device.compiled(8)(*batch), outside)


def test_a_view_is_compiled_once_for_training_and_for_features():
    batch, before = inputs((RandomResizedCrop(16), Grayscale(), Normalize())), compilations()
    with torch.no_grad():
        device.compiled(8)(*batch)
    device.compiled(8)(*batch)
    assert compilations() == before + 1


def test_a_last_smaller_batch_is_rendered_without_compiling_again():
    ops, pixels, packed = inputs((RandomResizedCrop(16), Grayscale(), Normalize()))
    render = device.compiled(8)
    render(ops, pixels, packed)
    before = compilations()
    assert torch.equal(render(ops, pixels[:3], packed[:3]), device.render(ops, pixels[:3], packed[:3]))
    render(ops, pixels, packed)
    assert compilations() == before


def test_any_number_of_views_compiles_and_loaders_share_them():
    before = compilations()
    for _ in range(2):
        for threshold in range(12):  # torch compiles one function eight times
            device.compiled(8)(*inputs((RandomResizedCrop(16), Solarize(threshold=threshold))))
    assert compilations() == before + 12


def test_device_crops_compile_once_for_images_of_any_size(photos):
    arrays = [np.asarray(image) for image in photos(9)]
    before = compilations()
    for some in (arrays[:4], arrays[4:6], arrays[6:], arrays[:1]):  # a part of a batch may be one large image
        hw, view = np.array([a.shape[:2] for a in some]), (RandomResizedCrop(24), HorizontalFlip(), Normalize())
        draws = draw(view, np.arange(len(some), dtype=np.uint64), hw, seed=0, epoch=0, number=0)
        boxes = torch.from_numpy(crop_params(view, draws, hw))
        rows = resample.rows_of(torch.from_numpy(resample.canvas(some)), torch.float32)
        for gradients in (True, False):
            with torch.set_grad_enabled(gradients):
                ours, eager = resample.compiled(24)(rows, boxes, 24), resample.crop(rows, boxes, 24)
            assert (ours.int() - eager.int()).abs().max() <= 1
    assert compilations() == before + 1


def test_compiling_is_for_gpus_where_it_works(monkeypatch):
    monkeypatch.setattr(compiler, "missing", lambda device: "")
    assert [compiler.wanted(choice, CUDA) for choice in ("auto", "on", "off")] == [True, True, False]
    assert [compiler.wanted(choice, torch.device("cpu")) for choice in ("auto", "on", "off")] == [False, True, False]
    monkeypatch.setattr(compiler, "missing", lambda device: "the package triton is not installed")
    assert not compiler.wanted("auto", CUDA)
    with pytest.raises(UserError, match="does not work on cuda: the package triton is not installed; choose --comp"):
        compiler.wanted("on", CUDA)


@pytest.mark.full
def test_generated_code_gives_the_pixels_of_the_eager_renderer(monkeypatch):
    monkeypatch.undo()
    batch = inputs(views_of("ssl_small_mask", 32)[0], size=32)
    torch.testing.assert_close(device.compiled(8)(*batch), device.render(*batch), rtol=0, atol=1e-5)
