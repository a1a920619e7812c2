"""The loader over any reader: crops on host and device, damaged samples, time by stage."""

import shutil
import threading
from contextlib import closing

import numpy as np
import pytest
import torch

from viewstream.augment.recipes import evaluation, moco_v2, seed_patches
from viewstream.augment.spec import IMAGENET_STD
from viewstream.pipeline.choose import open_loader, open_reader
from viewstream.pipeline.loader import AHEAD
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.plan.step import Epoch, once
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest

STD = torch.tensor(IMAGENET_STD).view(3, 1, 1)


def streamed(manifest, views, reader="webdataset", plan=None, epoch=0, **options):
    plan = plan or Plan(len(manifest), 16, seed=5)
    with closing(open_loader(reader, manifest, plan, views, threads=2, **options)) as loader:
        return loader, list(loader.epoch(epoch))


def shown(manifest, views, rows, **options):
    """Rows as epoch 0 shows them."""
    plan = Plan(len(manifest), 16, seed=5)
    with closing(open_loader("webdataset", manifest, plan, views, **options)) as loader:
        return loader.batch(rows, 0)


def spoiled(built, folder, rows, reader):
    """A copy of the set whose samples `rows` do not decode through `reader`."""
    broken = Manifest.open(shutil.copytree(built.root, folder / "set"))
    for row in rows:
        file = {"folder": broken.path(row), "webdataset": broken.tars()[0], "ffcv": broken.beton_path()}[reader]
        data, jpeg = bytearray(file.read_bytes()), built.path(row).read_bytes()
        at = data.index(jpeg)
        data[at : at + len(jpeg)] = bytes(len(jpeg))
        file.write_bytes(data)
    return broken


@pytest.mark.parametrize("recipe", [moco_v2, seed_patches, evaluation])
def test_crops_of_the_device_equal_those_of_the_host_within_a_level(built, recipe):
    one, two = (shown(built, recipe(48), np.arange(12), crops=crops) for crops in ("host", "device"))
    assert torch.equal(one.index, two.index)
    assert torch.equal(one.target, two.target)
    for a, b in zip(one.views, two.views, strict=True):
        gap = (a - b).abs() * STD * 255
        assert gap.mean() < 0.05  # single values differ by a level, which a jitter may stretch
        assert np.percentile(gap, 99.9) <= 2


@pytest.mark.parametrize("reader", ["folder", "webdataset"])
def test_a_damaged_sample_gets_the_same_replacement_through_every_reader(built, tmp_path, reader, capsys):
    rows = [3, 17, 40]
    broken = spoiled(built, tmp_path, rows, reader)
    whole = streamed(built, moco_v2(32))[1]
    loader, mended = streamed(broken, moco_v2(32), reader, skip=True)
    assert sorted(loader.skipped) == rows
    assert capsys.readouterr().err.count("skipped: sample") == 3
    index, right = (torch.cat([b.index for b in batches]) for batches in (mended, whole))
    changed = (index != right).nonzero()[:, 0]
    assert sorted(right[changed].tolist()) == rows
    again = streamed(spoiled(built, tmp_path / "other", rows, "folder"), moco_v2(32), "folder", skip=True)[1]
    for one, two in zip(mended, again, strict=True):
        assert torch.equal(one.index, two.index)
        assert all(torch.equal(a, b) for a, b in zip(one.views, two.views, strict=True))


def test_a_replaced_sample_shows_its_own_views_and_label(built, tmp_path):
    broken = spoiled(built, tmp_path, [17], "webdataset")
    for crops in ("host", "device"):
        mended = shown(broken, moco_v2(32), np.array([16, 17]), skip=True, crops=crops)
        row = int(mended.index[1])
        assert row != 17
        assert mended.target[1] == built.label[row]
        one = shown(built, moco_v2(32), np.array([16, row]), crops=crops)
        assert all(torch.equal(a, b) for a, b in zip(mended.views, one.views, strict=True))


def test_evaluation_replaces_nothing_and_its_error_names_sample_place_and_remedy(built, tmp_path):
    broken = spoiled(built, tmp_path, [17], "webdataset")
    plan = Plan(len(built), 16, tail="exact")
    with pytest.raises(UserError, match=r"sample 17 .* stored in .*\.tar at byte \d+: .*--repair"):
        streamed(broken, evaluation(32), plan=plan, skip=True)


def test_a_set_with_only_damaged_samples_ends_in_an_error(built, tmp_path):
    broken = spoiled(built, tmp_path, range(len(built)), "folder")
    with pytest.raises(UserError, match="is damaged"):
        streamed(broken, moco_v2(32), "folder", skip=True)


def test_a_failing_decoder_is_named_like_a_damaged_sample(built, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("out of luck")

    monkeypatch.setattr("viewstream.pipeline.decoding.has_turbojpeg", lambda: False)
    monkeypatch.setattr("viewstream.pipeline.executor.simplejpeg.decode_jpeg", fail)
    with pytest.raises(UserError, match=r"sample \d+ \(.*\) is damaged \(out of luck\)"):
        streamed(built, moco_v2(32))


def test_every_stage_is_counted(built):
    loader, _ = streamed(built, moco_v2(32))
    assert loader.times["samples"] == len(built)
    assert all(loader.times[stage] > 0 for stage in ("read", "decode", "cut", "draw", "wait", "render"))
    assert loader.times.table().startswith("read 0.")
    assert loader.times.table().endswith(" ms per sample")


class Watched:
    """The set's own reader; `orders` has the rows of each epoch, `seen` is set once `expected` rows were read."""

    def __init__(self, manifest, expected):
        self.inner, self.left, self.orders, self.seen = (
            open_reader("webdataset", manifest),
            expected,
            [],
            threading.Event(),
        )

    def read(self, row):
        self.left -= 1
        if self.left <= 0:
            self.seen.set()
        return self.inner.read(row)

    def locate(self, row):
        return self.inner.locate(row)

    def prefetch(self, rows):
        self.orders.append(rows)
        if next(rows, None) is None:
            raise UserError("no rows")

    def close(self):
        self.inner.close()


def open_watched(built, expected):
    reader = Watched(built, expected)
    return reader, open_loader(reader, built, Plan(len(built), 16, seed=5), moco_v2(32), threads=1)


def test_the_first_batches_of_an_epoch_are_read_before_one_is_asked_for(built):
    reader, loader = open_watched(built, AHEAD * 16)
    with closing(loader):
        batches = loader.epoch(1)
        assert reader.seen.wait(30)
        assert len(reader.orders) == 1
        ours, theirs = list(batches), streamed(built, moco_v2(32), epoch=1)[1]
    for one, other in zip(ours, theirs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.views, other.views, strict=True))


class Counted:
    """Storage order, which counts the positions that it was asked for."""

    def __init__(self, samples):
        self.samples, self.asked = samples, 0

    def __len__(self):
        return self.samples

    def __call__(self, seed, epoch):
        def at(position):
            self.asked += len(position)
            return once(position)

        return Epoch(at)


def test_a_loader_asks_an_order_for_no_more_positions_than_it_reads(built, monkeypatch):
    monkeypatch.setattr("viewstream.pipeline.plan.order.TOGETHER", 4)
    monkeypatch.setattr("viewstream.pipeline.plan.params.TOGETHER", 4)
    order = Counted(len(built))
    with closing(open_loader("folder", built, Plan(len(built), 4, order=order), moco_v2(32), threads=1)) as loader:
        batches = loader.epoch(0)
        assert order.asked == 4 * AHEAD
        for number in range(1, 4):
            next(batches)
            assert order.asked <= 4 * (AHEAD + 1 + number)


def test_an_epoch_that_is_never_asked_for_a_batch_leaves_nothing_and_its_errors_come_with_the_first(built):
    threads = threading.active_count()
    reader, loader = open_watched(built, 1)
    with closing(loader):
        loader.epoch(0).close()
        left = reader.left
        assert len(list(loader.epoch(1))) == 6
        assert left - reader.left == 96  # no read of the other epoch ran on
        nothing = loader.epoch(0, start=6)
        with pytest.raises(UserError, match="no rows"):
            next(nothing)
        loader.epoch(2)
    assert threading.active_count() <= threads  # threads of earlier tests may end meanwhile
