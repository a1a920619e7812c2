"""The DALI loader's memory fits the images, and nothing of it remains after it is closed."""

import contextlib
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from viewstream.augment.recipes import moco_v2, seed_patches
from viewstream.pipeline.choose import open_reader
from viewstream.pipeline.dali.hints import hints
from viewstream.pipeline.dali.loader import DaliLoader
from viewstream.pipeline.options import LoaderOptions
from viewstream.pipeline.plan.order import Plan

from .dali_loaders import dali

TWO_THREADS = LoaderOptions(threads=2)


def usage():
    """Threads and open files of this process."""
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))


@dali
def test_no_thread_file_or_pipeline_remains_after_an_early_break(built):
    def some(epochs):
        loader = DaliLoader(built, Plan(len(built), 8), moco_v2(32), open_reader("webdataset", built), TWO_THREADS)
        for epoch in range(epochs):
            for _ in loader.epoch(epoch):
                break
        shown = len(list(loader.epoch(9)))  # and it still works
        loader.close()
        return shown

    assert some(1) == len(built) // 8  # the first use starts the host renderer's threads, which stay
    before = usage()
    assert some(3) == len(built) // 8
    assert all(now <= then for now, then in zip(usage(), before, strict=True))  # threads of earlier tests may end


@dali
@pytest.mark.full
def test_many_epochs_need_no_more_memory_threads_or_files_than_a_few(make_loader):
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    loader, seen = make_loader(seed_patches(96)), []
    for epoch in range(14):
        for _ in loader.epoch(epoch):
            pass
        seen.append((resident(), *usage()))
    assert {counts for _, *counts in map(tuple, seen[4:]) for counts in [tuple(counts)]} == {seen[4][1:]}
    assert max(memory for memory, *_ in seen[9:]) < max(memory for memory, *_ in seen[4:9]) + 8  # MiB


def test_hints_follow_the_sizes_of_nearly_all_images(built):
    pixels = np.sort(built.hw.astype(np.int64).prod(axis=1))
    for name in ("device_memory_padding", "host_memory_padding"):
        assert 6 * pixels[-2] <= hints(built)[name] <= 1.6 * 6 * pixels[-1] + built.bytes.max()
    big = replace(built, hw=np.full((len(built), 2), 65_500, np.int32))
    assert max(hints(big, 0.5).values()) == 2**31 - 1


def test_one_huge_image_does_not_set_the_memory_of_every_thread(built):
    plain = hints(built, 0.5)
    hw, size = built.hw.copy(), built.bytes.copy()
    hw[40], size[40] = (6000, 10_000), 30_000_000
    huge = hints(replace(built, hw=hw, bytes=size), 0.5)
    assert all(huge[name] <= 1.5 * plain[name] for name in plain)


def test_hints_of_a_large_set_look_at_images_that_are_evenly_spread(built, monkeypatch):
    monkeypatch.setattr("viewstream.pipeline.dali.hints.LOOKED_AT", 10)
    rows = np.arange(0, len(built), -(-len(built) // 10))
    assert hints(built, 0.5) == hints(built.take(rows, built.label[rows], built.info.classes), 0.5)


def test_the_jpeg_engine_has_memory_only_if_it_has_a_share(built):
    assert hints(built)["hw_decoder_load"] == 0
    assert not any(name.startswith("preallocate") for name in hints(built))
    shared = hints(built, 0.75)
    assert shared["hw_decoder_load"] == 0.75
    tallest, widest = np.sort(built.height)[-2], np.sort(built.width)[-2]
    assert (shared["preallocate_height_hint"], shared["preallocate_width_hint"]) == (tallest, widest)


def test_the_decoder_on_a_gpu_gets_its_share_and_memory(built, monkeypatch):
    got = []
    monkeypatch.setattr("viewstream.pipeline.dali.loader.Renderer", lambda *args: got.append(args))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "device", lambda index: contextlib.nullcontext())
    options, reader = (
        LoaderOptions(device="cuda", threads=2, compile="off", hw_decoder_load=0.75),
        open_reader("folder", built),
    )
    DaliLoader(built, Plan(len(built), 8), moco_v2(32), reader, options).jpegs.close()
    assert got == [(moco_v2(32), 8, "gpu", 2, hints(built, 0.75))]
