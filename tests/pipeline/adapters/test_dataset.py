"""torch's DataLoader over our dataset and sampler shows the views of ViewLoader."""

import os
import pickle
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from viewstream.augment.recipes import evaluation, moco_v2, swav
from viewstream.pipeline import as_dataset
from viewstream.pipeline.choose import open_loader
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.plan.orders import Balanced
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest

FORK = pytest.param(2, "fork", marks=pytest.mark.full)
SPAWN = pytest.param(2, "spawn", marks=pytest.mark.full)
KILLED = Path(__file__).parent / "killed_worker.py"


def streamed(manifest, views, plan, epoch, start=0):
    with closing(open_loader("folder", manifest, plan, views, threads=2)) as loader:
        return list(loader.epoch(epoch, start))


def loaded(manifest, views, workers=0, start=None, **options):
    dataset, batches = as_dataset(manifest, views, **{"batch": 16, "seed": 5, **options})
    return DataLoader(dataset, batch_sampler=batches, num_workers=workers, multiprocessing_context=start), batches


def assert_same(theirs, ours):
    assert len(theirs) == len(ours)
    for (views, target, index), batch in zip(theirs, ours, strict=True):
        assert torch.equal(index, batch.index)
        assert torch.equal(target, batch.target)
        for one, other in zip(views, batch.views, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("workers", "start"), [(0, None), FORK, SPAWN])
@pytest.mark.parametrize("recipe", [moco_v2, swav])
def test_a_dataloader_shows_the_views_of_our_loader(built, recipe, workers, start):
    views, plan = recipe(32), Plan(len(built), 16, seed=5)
    loader, batches = loaded(built, views, workers, start)
    for epoch in (0, 3):
        batches.set_epoch(epoch)
        assert_same(list(loader), streamed(built, views, plan, epoch))


@pytest.mark.full
def test_a_forked_worker_waits_for_no_thread_of_its_parent(built):
    dataset, batches = as_dataset(built, moco_v2(32), batch=16)
    alone = dataset[0, 0]  # rendered on one thread, as in workers
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=1, multiprocessing_context="fork", timeout=60)
    assert len(list(loader)) == len(batches)
    assert all(torch.equal(a, b) for a, b in zip(alone[0], dataset[0, 0][0], strict=True))


@pytest.mark.full
def test_workers_that_stay_follow_the_epoch(built):
    dataset, batches = as_dataset(built, moco_v2(32), batch=16, seed=5)
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=2, persistent_workers=True)
    for epoch in (0, 1):
        batches.set_epoch(epoch)
        assert_same(list(loader), streamed(built, moco_v2(32), Plan(len(built), 16, seed=5), epoch))


@pytest.mark.parametrize("loader", ["webdataset", "folder"])
def test_each_of_two_ranks_gets_its_share(built, loader):
    for rank in range(2):
        theirs, _ = loaded(built, moco_v2(32), loader=loader, world_size=2, rank=rank)
        assert_same(list(theirs), streamed(built, moco_v2(32), Plan(len(built), 16, 2, rank, 5), 0))


def test_a_resumed_epoch_is_the_tail_of_the_whole_and_the_next_one_is_whole(built):
    plan = Plan(len(built), 16, seed=5)
    loader, batches = loaded(built, moco_v2(32))
    batches.resume(epoch=1, step=4)
    for epoch, start in ((1, 4), (2, 0)):
        batches.set_epoch(epoch)  # as a loop over epochs does in any case
        assert len(loader) == len(plan) - start
        assert_same(list(loader), streamed(built, moco_v2(32), plan, epoch, start))


def test_an_evaluation_shows_each_image_once_over_all_ranks(built):
    seen = []
    for rank in range(3):
        loader, _ = loaded(built, evaluation(16), batch=93, world_size=3, rank=rank, tail="exact")
        part = list(loader)
        assert len(loader) == len(part)
        seen += [i for _, _, index in part for i in index.tolist()]
    assert sorted(seen) == list(range(len(built)))


def test_an_order_of_classes_is_followed(built):
    order = Balanced(built.label)
    loader, _ = loaded(built, evaluation(16), order=order)
    rows = np.concatenate([index for _, _, index in loader])
    assert rows.tolist() == order(5, 0).at(np.arange(len(rows))).rows.tolist()


def test_an_older_version_of_the_order_is_followed(built):
    _, steps = as_dataset(built, evaluation(16), batch=16, seed=5, version=1)
    rows = [[row for _, row in step] for step in steps]
    assert rows == [ids.tolist() for ids in Plan(len(built), 16, seed=5, version=1).ids(0)]
    assert rows != [ids.tolist() for ids in Plan(len(built), 16, seed=5).ids(0)]


def test_a_sample_asked_for_alone_is_the_one_in_the_batch(built):
    dataset, _ = as_dataset(built, moco_v2(32), batch=16)
    addresses = [(0, 7), (0, 3), (2, 7)]
    batch = dataset.__getitems__(addresses)
    for address, (views, target, index) in zip(addresses, batch, strict=True):
        alone = dataset[address]
        assert (target, index) == alone[1:] == (built.label[address[1]], address[1])
        assert all(torch.equal(a, b) for a, b in zip(views, alone[0], strict=True))
    assert not torch.equal(batch[0][0][0], batch[2][0][0])


def test_a_dataset_is_pickled_without_its_files(built):
    dataset, _ = as_dataset(built, moco_v2(32), batch=16)
    before = len(os.listdir("/proc/self/fd"))
    again = pickle.loads(pickle.dumps(dataset))
    assert len(os.listdir("/proc/self/fd")) == before
    assert torch.equal(again[0, 5][0][0], dataset[0, 5][0][0])
    again.close()
    assert len(os.listdir("/proc/self/fd")) == before


def damaged(manifest, folder, row):
    shutil.copytree(manifest.root, folder)
    broken = Manifest.open(folder)
    data, jpeg = bytearray(broken.tars()[0].read_bytes()), manifest.path(row).read_bytes()
    at = data.index(jpeg)
    data[at + len(jpeg) // 3 : at + len(jpeg)] = bytes(len(jpeg) - len(jpeg) // 3)
    broken.tars()[0].write_bytes(data)
    return broken


@pytest.mark.parametrize(("workers", "start"), [(0, None), FORK, SPAWN])
def test_a_damaged_sample_is_named_through_any_worker(built, tmp_path, workers, start):
    broken = damaged(built, tmp_path / "set", 17)
    loader, _ = loaded(broken, moco_v2(32), workers, start)
    with pytest.raises(UserError, match=f"sample 17 .{broken.keys[17]}. is damaged"):
        list(loader)


@pytest.mark.full
def test_a_killed_worker_is_an_error_and_not_a_hang(built, program):
    ended = program(KILLED, built.root)
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr  # from torch: a worker was killed, or its connection is lost


def test_a_format_that_was_not_built_is_refused_at_once(built):
    with pytest.raises(UserError, match="did you mean"):
        as_dataset(built, moco_v2(32), batch=16, loader="webdatset")


@pytest.mark.full
def test_the_package_is_imported_without_torch():
    code = "import sys, viewstream.pipeline as p; assert 'torch' not in sys.modules; p.as_dataset"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_loader_that_needs_the_order_in_advance_is_refused_at_once(built):
    with pytest.raises(UserError, match="choose the loader webdataset, or open_loader"):
        as_dataset(built, moco_v2(32), batch=16, loader="webdataset-stream")
