"""Images held in memory give the batches of every other loader, and are decoded once."""

import threading
from collections import Counter
from contextlib import closing

import numpy as np
import pytest
import torch

from viewstream.augment.recipes import VIEWS, evaluation, moco_v2, seed_patches
from viewstream.augment.spec import Normalize
from viewstream.pipeline.choose import open_loader, open_set
from viewstream.pipeline.loader import ViewLoader
from viewstream.pipeline.memory.loader import MemoryLoader
from viewstream.pipeline.options import LoaderOptions
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.plan.orders import Balanced
from viewstream.shards.errors import UserError
from viewstream.shards.formats.reader import SampleReader
from viewstream.shards.memory import in_memory
from viewstream.testing import check_loader


class Pixels(SampleReader):
    """40 images of 24 x 20 px, and how often each is read."""

    def __init__(self):
        self.images = np.random.default_rng(0).integers(0, 256, (40, 24, 20, 3), np.uint8)
        self.reads, self.closed = Counter(), 0

    def read(self, row):
        self.reads[row] += 1
        return self.images[row]

    def locate(self, row):
        return f"place {row}"

    def close(self):
        self.closed += 1


ALIKE = in_memory("alike", [f"a/{i}" for i in range(40)], np.zeros(40, int), np.full((40, 2), (24, 20)), ["a"])


def batches(loader, epoch=1, start=0):
    with closing(loader):
        return list(loader.epoch(epoch, start))


def held(manifest, views, plan=None, **options):
    return open_loader("memory", manifest, plan or Plan(len(manifest), 16, seed=5), views, threads=2, **options)


def read(manifest, views, plan=None, loader="ffcv", **options):
    return open_loader(loader, manifest, plan or Plan(len(manifest), 16, seed=5), views, threads=2, **options)


def assert_same(ours, theirs):
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.index, other.index)
        assert torch.equal(one.target, other.target)
        assert all(torch.equal(a, b) for a, b in zip(one.views, other.views, strict=True))


@pytest.mark.parametrize("recipe", VIEWS)
def test_every_recipe_has_the_pixels_of_the_ffcv_loader(built, recipe):
    views = VIEWS[recipe](32)
    assert_same(batches(held(built, views)), batches(read(built, views)))


@pytest.mark.parametrize("recipe", [moco_v2, seed_patches, evaluation])
def test_crops_of_the_device_are_those_of_decoded_images(built, recipe):
    views = recipe(32)
    assert_same(batches(held(built, views, crops="device")), batches(read(built, views, crops="device")))


@pytest.mark.parametrize("crops", ["host", "device"])
def test_images_of_one_size_have_the_pixels_of_a_reader(crops):
    plan, views, options = Plan(40, 12, seed=2), moco_v2(16), LoaderOptions(threads=2, crops=crops)
    ours = MemoryLoader(ALIKE, plan, views, Pixels(), options)
    assert_same(batches(ours), batches(ViewLoader(ALIKE, plan, views, Pixels(), options)))


def test_a_balanced_order_repeats_images_with_other_views(built):
    plan = Plan(len(built), 16, seed=5, order=Balanced(built.label))
    assert_same(batches(held(built, moco_v2(24), plan)), batches(read(built, moco_v2(24), plan)))


@pytest.mark.parametrize("crops", ["host", "device"])
def test_an_epoch_continues_from_every_start_and_pads_its_last_batch(built, crops):
    plan = Plan(len(built) - 3, 16, seed=5, tail="pad", multiple=2)
    whole = batches(held(built, moco_v2(24), plan, crops=crops))
    assert [len(batch.index) for batch in whole] == [16] * 5 + [14]
    for start in (0, 2, 5):
        assert_same(batches(held(built, moco_v2(24), plan, crops=crops), start=start), whole[start:])


@pytest.mark.parametrize("crops", ["host", "device"])
def test_an_evaluation_holds_the_share_of_its_rank_and_shows_each_image_once(built, crops):
    """The last global batch of 96 images in batches of 35 is short, and empty for the last ranks."""
    seen, stored = [], 0
    for rank in range(5):
        plan = Plan(len(built), 35, 5, rank, tail="exact")
        loader = held(built, evaluation(24), plan, crops=crops)
        stored += len(loader.held.pixels)
        ours = batches(loader)
        assert_same(ours, batches(read(built, evaluation(24), plan, crops=crops)))
        seen += [row for batch in ours for row in batch.index.tolist()]
    assert len(ours[-1].index) == 0
    assert sorted(seen) == list(range(len(built)))
    assert stored == 3 * int(built.hw.astype(np.int64).prod(axis=1).sum())


@pytest.mark.parametrize("crops", ["host", "device"])
def test_an_image_that_a_rank_does_not_hold_is_refused(built, crops):
    plan = Plan(len(built), 48, 2, 1, tail="exact")
    with closing(held(built, evaluation(16), plan, crops=crops)) as loader:
        assert loader.batch(np.array([24, 95]), 0).index.tolist() == [24, 95]
        with pytest.raises(UserError, match="sample 23 is not in this rank's share"):
            loader.batch(np.array([24, 23]), 0)


@pytest.mark.parametrize("crops", ["host", "device"])
def test_a_rank_without_any_image_shows_empty_batches(crops):
    plan = Plan(1, 4, 4, 3, tail="exact")
    (batch,) = batches(MemoryLoader(ALIKE, plan, evaluation(16), Pixels(), LoaderOptions(crops=crops)))
    assert batch.views[0].shape == (0, 3, 16, 16)


def test_each_image_is_read_once_and_the_reader_is_closed_when_the_loader_is_made():
    reader, before = Pixels(), threading.active_count()
    loader = MemoryLoader(ALIKE, Plan(40, 8), moco_v2(16), reader, LoaderOptions(threads=2))
    assert reader.reads == Counter(range(40))
    assert reader.closed == 1
    for epoch in range(2):
        assert len(list(loader.epoch(epoch))) == 5
    assert loader.batch(np.array([7, 7, 30]), 0).index.tolist() == [7, 7, 30]
    assert reader.reads == Counter(range(40))
    assert loader.times["read"] == loader.times["decode"] == 0 < loader.times["cut"]
    loader.close()
    assert threading.active_count() == before


def test_class_folders_are_held_without_a_build(pets):
    plain = open_set(str(pets))
    assert_same(batches(held(plain, moco_v2(24))), batches(read(plain, moco_v2(24), loader="folder")))


def test_the_held_images_are_a_reader_of_their_pixels(built):
    loader = held(built, evaluation(16))
    ours = list(loader.epoch(1))
    assert_same(ours, batches(ViewLoader(built, Plan(len(built), 16, seed=5), evaluation(16), loader.held)))
    assert loader.held.locate(0) == "memory of cpu"
    assert len(loader.held.pixels) == 0  # it is closed


def test_the_loader_keeps_the_public_laws(built):
    check_loader(lambda plan: open_loader("memory", built, plan, moco_v2(32), threads=2), built)


def test_the_reader_is_closed_if_the_loader_cannot_be_made():
    reader = Pixels()
    with pytest.raises(UserError, match="must begin"):
        MemoryLoader(ALIKE, Plan(40, 8), ((Normalize(),),), reader)
    with pytest.raises(UserError, match="orders 41 samples"):
        MemoryLoader(ALIKE, Plan(41, 8), moco_v2(16), reader)
    assert (reader.closed, reader.reads) == (2, Counter())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: nothing tests that one holds the images")
def test_a_gpu_holds_the_images_and_crops_them(built):
    ours = open_loader("memory", built, Plan(len(built), 16, seed=5), moco_v2(32), device="cuda")
    assert ours.held.pixels.is_cuda
    theirs = open_loader("ffcv", built, Plan(len(built), 16, seed=5), moco_v2(32), device="cuda", crops="device")
    assert_same(batches(ours), batches(theirs))
