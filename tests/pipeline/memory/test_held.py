"""What is held: what fits, shown while it is decoded; damaged images are named or replaced; no copies on a GPU."""

from contextlib import closing

import numpy as np
import pytest
import torch

from viewstream.augment.recipes import evaluation, moco_v2
from viewstream.pipeline.choose import open_loader, open_reader
from viewstream.pipeline.damage import Replacer
from viewstream.pipeline.host_batch import DecodedImages
from viewstream.pipeline.memory import held
from viewstream.pipeline.plan.order import Plan
from viewstream.shards.errors import UserError

from ...fake_gpu import Counted, Crossings
from ..test_loader import spoiled


def opened(manifest, plan=None, views=moco_v2, **options):
    plan = plan or Plan(len(manifest), 16, seed=5)
    return closing(open_loader("memory", manifest, plan, views(32), threads=2, **options))


@pytest.mark.parametrize("crops", ["host", "device"])
def test_a_damaged_image_gets_the_replacement_of_every_other_loader(built, tmp_path, crops, capsys):
    rows = [3, 17, 40]
    broken = spoiled(built, tmp_path, rows, "folder")
    with opened(broken, crops=crops, skip=True) as loader:
        ours = list(loader.epoch(1))
        assert sorted(loader.skipped) == rows
    assert capsys.readouterr().err.count("skipped: sample") == 3
    plan = Plan(len(built), 16, seed=5)
    with closing(open_loader("folder", broken, plan, moco_v2(32), crops=crops, skip=True)) as loader:
        for one, other in zip(ours, loader.epoch(1), strict=True):
            assert torch.equal(one.index, other.index)
            assert all(torch.equal(a, b) for a, b in zip(one.views, other.views, strict=True))


def test_a_damaged_image_that_may_not_be_replaced_is_named_when_the_loader_is_made(built, tmp_path):
    broken = spoiled(built, tmp_path, [17], "folder")
    with pytest.raises(UserError, match=r"sample 17 \(.*\) is damaged .*--repair.*; `train.py --on-error skip`"):
        opened(broken)
    exact = Plan(len(broken), 16, tail="exact")
    with pytest.raises(UserError, match=r"sample 17 .* mends it$"):
        opened(broken, exact, evaluation, skip=True)


def bytes_of(manifest):
    return int(3 * manifest.hw.astype(np.int64).prod(axis=1).sum())


@pytest.mark.parametrize("ranks", [1, 2])
def test_images_that_take_more_than_half_of_the_memory_of_a_process_are_refused(built, monkeypatch, ranks):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    monkeypatch.setattr(held, "free_memory", lambda: 2 * ranks * bytes_of(built))
    with opened(built):
        pass
    monkeypatch.setattr(held, "free_memory", lambda: 2 * ranks * bytes_of(built) - 2 * ranks)
    with pytest.raises(UserError, match=r"^the 96 decoded images of pets-.* take .* free on cpu .* another --loader"):
        opened(built)


def test_the_memory_of_a_gpu_is_asked_of_that_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**9 * device.index, 10**10))
    monkeypatch.setattr(held, "free_memory", lambda: 0)
    held.refuse_large("set", 7, 10**9, torch.device("cuda:2"))
    with pytest.raises(UserError, match=r"take 1,000 MB, .* at most 500 MB of the 1,000 MB .* free on cuda:1"):
        held.refuse_large("set", 7, 10**9, torch.device("cuda:1"))


def test_progress_is_shown_while_images_are_decoded_by_the_first_rank_alone(built, monkeypatch, capsys):
    monkeypatch.setattr(held, "PART", 100_000)
    shown = []

    class Bar(held.Bar):
        def __init__(self, *args, quiet):
            shown.append([quiet])
            super().__init__(*args)

        def update(self, n):
            shown[-1].append(n)
            return super().update(n)

    monkeypatch.setattr(held, "Bar", Bar)
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        with opened(built):
            pass
    assert [first for first, *_ in shown] == [False, True]
    assert all(sum(parts) == 96 and len(parts) > 5 for _, *parts in shown)
    assert capsys.readouterr().err.count("96 images in memory, ") == 1


def test_images_are_decoded_in_parts_and_moved_to_the_device(built, monkeypatch):
    """The device `meta` is a stand-in that keeps no bytes: the copies to it are recorded."""
    moved, copy = [], torch.Tensor.copy_
    monkeypatch.setattr(torch.Tensor, "copy_", lambda self, source: moved.append(source) or copy(self, source))
    monkeypatch.setattr(held, "PART", 100_000)
    rows, replacer = np.arange(len(built))[::-1], Replacer(built, Plan(len(built), 8), skip=False)
    with closing(open_reader("folder", built)) as reader:
        there = held.hold(built, rows, reader, torch.device("meta"), 2, replacer)
        moved, here = list(moved), held.hold(built, rows, reader, torch.device("cpu"), 2, replacer)
    assert there.pixels.is_meta
    assert torch.equal(torch.cat(moved), here.pixels)
    assert len(moved) > 5


def test_a_gpu_collects_and_crops_its_images_without_the_host(fake_gpu):
    hw = np.array([[24, 20], [24, 20], [9, 31]])
    flat = torch.empty(3 * 10_000, dtype=torch.uint8, device="cuda")
    boxes = torch.empty(3, 2, 10, dtype=torch.int32, device="cuda")
    pixels = DecodedImages(flat, hw, boxes, [16, 8], first=np.array([4000, 0, 900]))
    with Crossings() as crossings, Counted() as counted:
        views = pixels.views()
    assert counted.launches["index_select"] == 1  # for all images
    assert [tuple(view.shape) for view in views] == [(3, 16, 16, 3), (3, 8, 8, 3)]
    assert {view.device.type for view in views} == {"cuda"}
    assert not crossings.seen


def test_the_images_that_are_held_stay_where_they_are(built):
    with opened(built, crops="device") as loader, closing(loader.host_batches(0)) as batches:
        moved = []
        next(batches).map(lambda tensor: moved.append(tensor) or tensor)
        pixels = [tensor for tensor in moved if tensor.dtype == torch.uint8]
        assert all(
            tensor is loader.held.pixels for tensor in pixels
        )  # on a GPU: a tensor that lies there is not copied
    assert sum(tensor.nbytes for tensor in moved if tensor.dtype != torch.uint8) < 16 * 1000
