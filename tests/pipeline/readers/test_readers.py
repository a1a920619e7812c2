"""Every reader gives the same pixels and names a damaged or missing file."""

import os
import shutil
import threading
import time
from contextlib import closing

import numpy as np
import pytest
import torch

from viewstream.augment.recipes import evaluation, moco_v1, moco_v2
from viewstream.augment.spec import Normalize
from viewstream.pipeline.choose import READERS, open_loader, open_reader
from viewstream.pipeline.loader import ViewLoader
from viewstream.pipeline.plan.order import Plan
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest
from viewstream.testing import check_loader, check_reader


def kind(name):
    """The format that a reader reads; two readers read tars."""
    return name.partition("-")[0]


def batches(manifest, name, views, plan=None, epoch=0, start=0, threads=2):
    loader = open_loader(name, manifest, plan or Plan(len(manifest), 16, seed=5), views, threads=threads)
    try:
        return list(loader.epoch(epoch, start))
    finally:
        loader.close()


def assert_same(one, two):
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.index, b.index)
        assert torch.equal(a.target, b.target)
        assert all(torch.equal(v, w) for v, w in zip(a.views, b.views, strict=True))


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("recipe", [moco_v1, moco_v2, evaluation])
def test_every_reader_gives_the_same_pixels(built, name, recipe):
    assert_same(batches(built, name, recipe(32)), batches(built, "folder", recipe(32)))


@pytest.mark.parametrize("name", READERS)
def test_pixels_do_not_depend_on_the_number_of_threads(built, name):
    assert_same(batches(built, name, moco_v2(32), threads=1), batches(built, name, moco_v2(32), threads=3))


@pytest.mark.parametrize("name", READERS)
def test_every_reader_and_loader_keeps_the_public_laws(built, name):
    check_reader(lambda: open_reader(name, built), built)
    check_loader(lambda plan: open_loader(name, built, plan, moco_v2(32), threads=2), built)


@pytest.mark.parametrize("name", READERS)
def test_an_epoch_may_begin_well_before_its_first_batch_once_the_one_before_is_closed(built, name):
    """As in training: the last batch is taken, batches that `--accumulate` leaves over are not."""
    with closing(open_loader(name, built, Plan(len(built), 16, seed=5), moco_v2(32), threads=2)) as loader:
        for epoch, taken in ((0, 6), (1, 4)):
            one = loader.epoch(epoch)
            assert_same([next(one) for _ in range(taken)], batches(built, "folder", moco_v2(32), epoch=epoch)[:taken])
            one.close()
            following = loader.epoch(epoch + 1)
            time.sleep(0.02)
            assert_same(list(following), batches(built, "folder", moco_v2(32), epoch=epoch + 1))


def test_an_image_has_the_same_draws_in_a_subset(built, pets, tmp_path):
    from viewstream.shards.building.build import BuildOptions, build

    for name in ("eel", "fox"):  # fewer classes: other rows and labels, the same keys
        shutil.copytree(pets / "train" / name, tmp_path / "source" / "train" / name)
    part = build(BuildOptions(source=tmp_path / "source", out=tmp_path / "part", workers=1))
    row_of = {key: row for row, key in enumerate(built.keys)}
    for batch in batches(part, "webdataset", moco_v2(32)):
        rows = np.array([row_of[part.keys[i]] for i in batch.index])
        whole = ViewLoader(built, Plan(len(built), 16, seed=5), moco_v2(32), open_reader("folder", built))
        again = whole.batch(rows, epoch=0)
        whole.close()
        assert all(torch.equal(v, w) for v, w in zip(batch.views, again.views, strict=True))


def test_an_evaluation_loader_yields_every_image_once_for_any_batch_and_world_size(built):
    plans = [Plan(len(built), 3 * 7, 3, rank, tail="exact") for rank in range(3)]
    seen = [i for plan in plans for b in batches(built, "folder", evaluation(16), plan) for i in b.index.tolist()]
    assert sorted(seen) == list(range(len(built)))


@pytest.mark.parametrize("name", READERS)
def test_a_storage_order_that_differs_from_the_rows_gives_the_right_images(built, name):
    reverse = np.arange(len(built))[::-1]
    other = built.take(reverse, built.label[reverse], built.info.classes)
    for batch in batches(other, name, evaluation(16)):
        rows = reverse[batch.index.numpy()]
        whole = ViewLoader(built, Plan(len(built), 16), evaluation(16), open_reader("folder", built))
        again = whole.batch(rows, epoch=0)
        whole.close()
        assert torch.equal(batch.views[0], again.views[0])


def copied(manifest, tmp_path):
    shutil.copytree(manifest.root, tmp_path / "set")
    return Manifest.open(tmp_path / "set")


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_sample_is_named(built, tmp_path, name):
    broken = copied(built, tmp_path)
    row = 17
    file = {"folder": broken.path(row), "webdataset": broken.tars()[0], "ffcv": broken.beton_path()}[kind(name)]
    data, jpeg = bytearray(file.read_bytes()), built.path(row).read_bytes()
    at = data.index(jpeg)
    data[at + len(jpeg) // 3 : at + len(jpeg)] = bytes(len(jpeg) - len(jpeg) // 3)
    file.write_bytes(data)
    with pytest.raises(UserError, match=f"sample {row} .{broken.keys[row]}. is damaged"):
        batches(broken, name, moco_v2(32))


@pytest.mark.parametrize("name", READERS)
def test_a_truncated_file_is_named(built, tmp_path, name):
    broken = copied(built, tmp_path)
    file = {"folder": broken.path(3), "webdataset": broken.tars()[0], "ffcv": broken.beton_path()}[kind(name)]
    keep = broken.bytes[3] // 2 if name == "folder" else file.stat().st_size // 2
    with file.open("r+b") as opened:
        opened.truncate(int(keep))
    with pytest.raises(UserError, match=r"truncated|damaged"):
        batches(broken, name, moco_v2(32))


@pytest.mark.parametrize("name", READERS)
def test_a_missing_file_is_named(built, tmp_path, name):
    broken = copied(built, tmp_path)
    file = {"folder": broken.path(3), "webdataset": broken.tars()[0], "ffcv": broken.beton_path()}[kind(name)]
    file.unlink()
    with pytest.raises(UserError, match=file.name):
        batches(broken, name, moco_v2(32))


def test_a_format_that_was_not_built_is_refused_with_the_command(built_val, pets, tmp_path):
    from viewstream.shards.building.build import BuildOptions, build

    only = build(BuildOptions(source=pets, out=tmp_path / "only", format=("webdataset",), workers=1))
    with pytest.raises(UserError, match=r"holds webdataset, not folder: build it with .*--format folder"):
        open_reader("folder", only)


def test_an_unknown_loader_suggests_the_nearest(built):
    with pytest.raises(UserError, match="did you mean 'ffcv'"):
        open_reader("fcv", built)


def test_breaking_out_of_an_epoch_leaves_no_thread_or_open_file(built):
    before, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    loader = open_loader("webdataset", built, Plan(len(built), 8), moco_v2(32), threads=2)
    for _ in loader.epoch(0):
        break
    assert len(list(loader.epoch(1))) == len(built) // 8  # the loader still works
    loader.close()
    assert threading.active_count() == before
    assert len(os.listdir("/proc/self/fd")) == files


def test_a_plan_for_more_samples_than_there_are_is_refused_when_the_loader_is_made(built):
    with pytest.raises(UserError, match=r"the plan orders 97 samples, pets-full-train holds 96"):
        open_loader("webdataset", built, Plan(len(built) + 1, 8), moco_v2(32), threads=1)


def test_an_impossible_view_is_refused_when_the_loader_is_made(built):
    with pytest.raises(UserError, match="must begin"):
        open_loader("webdataset", built, Plan(len(built), 8), ((Normalize(),),), threads=1)
