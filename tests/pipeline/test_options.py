"""The options of a loader decide who crops, what renders, and what is compiled."""

from contextlib import closing
from dataclasses import replace

import pytest
import torch

from viewstream.augment import moco_v1, moco_v2
from viewstream.augment.renderers import compiler, device, host, kornia, resample
from viewstream.pipeline import Plan, open_loader
from viewstream.pipeline.options import FEW_CORES, LoaderOptions
from viewstream.pipeline.workers import share_of_cores
from viewstream.shards.errors import UserError


@pytest.mark.parametrize(
    ("crops", "device", "cores", "on_device"),
    [
        ("host", "cuda", 1, False),
        ("device", "cpu", 99, True),
        ("auto", "cpu", 1, False),
        ("auto", "cuda:1", FEW_CORES - 1, True),
        ("auto", "cuda", FEW_CORES, False),
    ],
)
def test_auto_leaves_the_crops_to_a_gpu_whose_process_has_few_cores(monkeypatch, crops, device, cores, on_device):
    monkeypatch.setattr("viewstream.pipeline.options.share_of_cores", lambda: cores)
    assert LoaderOptions(crops=crops, device=device).crop_on_device is on_device


@pytest.mark.parametrize("name", ["folder", "dali"])
def test_a_gpu_that_is_not_there_is_named_when_the_loader_is_opened(built, monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="there is no device cuda:1, torch finds 1 GPUs: choose cpu"):
        open_loader(name, built, Plan(len(built), batch=32), moco_v2(32), device="cuda:1")


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_of_the_jpeg_engine_is_between_0_and_1(share):
    with pytest.raises(UserError, match=r"--hw-decoder-load \S+ is no share of a batch: give 0 to 1"):
        LoaderOptions(device="cuda", hw_decoder_load=share)


def test_a_share_of_the_jpeg_engine_is_for_dali_on_a_gpu_alone(built):
    plan = Plan(len(built), 16)
    with pytest.raises(UserError, match="DALI would decode on the CPU here: leave it out"):
        open_loader("dali", built, plan, moco_v2(32), hw_decoder_load=0.5)
    with pytest.raises(UserError, match="choose --loader dali with it, or leave it out"):
        open_loader("ffcv", built, plan, moco_v2(32), device="cuda", hw_decoder_load=0.5)


@pytest.mark.parametrize(
    ("renderer", "on", "module"),
    [
        ("auto", "cpu", host),
        ("auto", "cuda:1", device),
        ("host", "cpu", host),
        ("device", "cpu", device),
        ("kornia", "cpu", kornia),
        ("kornia", "cuda", kornia),
    ],
)
def test_a_renderer_is_chosen_by_name_or_by_the_device(renderer, on, module):
    chosen = module.threaded(3) if module is host else module.render
    assert LoaderOptions(renderer=renderer, device=on, compile="off", threads=3).render(8) is chosen


def test_the_host_renderer_takes_the_loaders_number_of_threads_else_the_cores_and_never_that_of_torch():
    assert LoaderOptions(threads=3).render(8) is host.threaded(3)
    assert LoaderOptions().render(8) is host.threaded(share_of_cores())


def test_the_host_renderer_is_refused_on_a_gpu_and_an_unknown_one_everywhere():
    with pytest.raises(UserError, match="computes on the CPU, but the views are rendered on cuda:0: choose device"):
        LoaderOptions(renderer="host", device="cuda:0").render(8)
    with pytest.raises(UserError, match="unknown renderer 'korna': did you mean 'kornia'"):
        LoaderOptions(renderer="korna").render(8)


def views_of(built, name, renderer, plan, views=moco_v1):
    with closing(open_loader(name, built, plan, views(32), threads=2, renderer=renderer)) as loader:
        return [batch.views[1] for batch in loader.epoch(2)]


@pytest.mark.parametrize("name", ["folder", "ffcv", "dali"])
def test_every_loader_and_rank_executes_the_same_draws_through_kornia(built, name):
    if name == "dali":
        pytest.importorskip("nvidia.dali", reason="DALI is not installed: the extra 'dali' brings it")
    plan = Plan(len(built), 12, seed=5)
    whole, usual = (views_of(built, name, renderer, plan) for renderer in ("kornia", "auto"))
    halves = [views_of(built, name, "kornia", replace(plan, world_size=2, rank=rank)) for rank in range(2)]
    for ours, others, *parts in zip(whole, usual, *halves, strict=True):
        torch.testing.assert_close(torch.cat(parts), ours, rtol=0, atol=1e-5)
        torch.testing.assert_close(ours, others, rtol=0, atol=1e-4)  # no blur: the same pixels
        assert not torch.equal(ours, others)  # and not the same arithmetic


def test_a_gpu_renders_by_a_compiled_renderer_where_compiling_works(monkeypatch):
    monkeypatch.setattr(compiler, "missing", lambda device: "")
    assert LoaderOptions(device="cuda").compiled
    assert LoaderOptions(device="cuda").render(8).__qualname__.startswith("compiled.")
    assert LoaderOptions(device="cuda", compile="off").render(8) is device.render
    assert LoaderOptions().render(8) is LoaderOptions(compile="on").render(8)  # nothing to compile on a CPU
    monkeypatch.setattr(compiler, "missing", lambda device: "the package triton is not installed")
    assert LoaderOptions(device="cuda").render(8) is device.render
    with pytest.raises(UserError, match=r"--compile on: .* cuda: the package triton is not installed; .* off"):
        LoaderOptions(device="cuda", compile="on").render(8)


def test_a_loader_passes_full_batches_and_crops_to_what_was_compiled(built, monkeypatch):
    """Compiled parts are replaced by eager ones that count their calls; the CPU stands for a GPU."""
    calls = []

    def render(ops, pixels, packed, dtype=torch.float32):
        calls.append(len(pixels))
        return device.render(ops, pixels, packed, dtype)

    def crop(rows, boxes, size):
        calls.append("crop")
        return resample.crop(rows, boxes, size)

    plan, views = Plan(len(built), batch=40, tail="exact"), moco_v2(16)
    with closing(open_loader("ffcv", built, plan, views, threads=1, crops="device")) as loader:
        expected = [batch.views for batch in loader.epoch(0)]
    monkeypatch.setattr(LoaderOptions, "compiled", True)
    monkeypatch.setattr(LoaderOptions, "render", lambda options, full: calls.append(f"full {full}") or render)
    monkeypatch.setattr(resample, "compiled", lambda size: crop)
    with closing(open_loader("ffcv", built, plan, views, threads=1, crops="device")) as loader:
        for batch, theirs in zip(loader.epoch(0), expected, strict=True):
            for ours, other in zip(batch.views, theirs, strict=True):
                torch.testing.assert_close(ours, other, rtol=0, atol=2e-3)
    assert calls == ["full 40", *["crop", "crop", 40, 40] * 2, "crop", "crop", 16, 16]


@pytest.mark.parametrize("exact", [False, True])
def test_where_results_must_repeat_crops_are_not_compiled_since_kernels_depend_on_the_sizes_before(
    built, monkeypatch, exact
):
    monkeypatch.setattr(LoaderOptions, "compiled", True)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: exact)
    with closing(open_loader("ffcv", built, Plan(len(built), 16), moco_v2(16), threads=1, crops="device")) as loader:
        assert next(loader.host_batches(0)).pixels.compiled is not exact
