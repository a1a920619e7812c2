"""The loader over any reader: who crops, how damaged samples are replaced, threads that settle, time that is
counted."""

import shutil
import time
from contextlib import closing
from itertools import count

import numpy as np
import pytest
import torch

from viewstream.augment.recipes import evaluation, moco_v2, seed_patches
from viewstream.augment.spec import IMAGENET_STD
from viewstream.pipeline.choose import open_loader
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.workers import Gate, Workers, share_of_cores
from viewstream.shards.engine import cores
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest

STD = torch.tensor(IMAGENET_STD).view(3, 1, 1)


def streamed(manifest, views, reader="webdataset", plan=None, epoch=0, **options):
    plan = plan or Plan(len(manifest), 16, seed=5)
    with closing(open_loader(reader, manifest, plan, views, threads=2, **options)) as loader:
        return loader, list(loader.epoch(epoch))


def shown(manifest, views, rows, **options):
    """Those rows as epoch 0 shows them."""
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
def test_crops_by_the_device_are_the_hosts_within_a_level(built, recipe):
    one, two = (shown(built, recipe(48), np.arange(12), crops=crops) for crops in ("host", "device"))
    assert torch.equal(one.index, two.index)
    assert torch.equal(one.target, two.target)
    for a, b in zip(one.views, two.views, strict=True):
        gap = (a - b).abs() * STD * 255
        assert gap.mean() < 0.05  # a level here and there, which a jitter may stretch
        assert np.percentile(gap, 99.9) <= 2


@pytest.mark.parametrize("reader", ["folder", "webdataset"])
def test_a_damaged_sample_is_replaced_by_the_same_other_one_behind_every_door(built, tmp_path, reader, capsys):
    rows = [3, 17, 40]
    broken = spoiled(built, tmp_path, rows, reader)
    whole = streamed(built, moco_v2(32))[1]
    stream, mended = streamed(broken, moco_v2(32), reader, skip=True)
    assert sorted(stream.skipped) == rows
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


def test_evaluation_replaces_nothing_and_the_error_names_sample_place_and_remedy(built, tmp_path):
    broken = spoiled(built, tmp_path, [17], "webdataset")
    plan = Plan(len(built), 16, tail="exact")
    with pytest.raises(UserError, match=r"sample 17 .* stored in .*\.tar at byte \d+: .*--repair"):
        streamed(broken, evaluation(32), plan=plan, skip=True)


def test_a_set_of_nothing_but_damage_ends_in_an_error(built, tmp_path):
    broken = spoiled(built, tmp_path, range(len(built)), "folder")
    with pytest.raises(UserError, match="is damaged"):
        streamed(broken, moco_v2(32), "folder", skip=True)


def test_a_failing_decoder_is_named_like_a_damaged_sample(built, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("out of luck")

    monkeypatch.setattr("viewstream.pipeline.executor.simplejpeg.decode_jpeg", fail)
    with pytest.raises(UserError, match=r"sample \d+ \(.*\) is damaged \(out of luck\)"):
        streamed(built, moco_v2(32))


def test_every_stage_is_counted(built):
    stream = streamed(built, moco_v2(32))[0]
    assert stream.times["samples"] == len(built)
    assert all(stream.times[stage] > 0 for stage in ("read", "decode", "cut", "draw", "wait", "render"))
    assert stream.times.table().startswith("read 0.")


def test_cores_follow_the_containers_quota(tmp_path):
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert cores(tmp_path) == min(2, cores(tmp_path / "absent"))
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert cores(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cores(tmp_path) == cores(tmp_path / "absent")
    old = tmp_path / "v1" / "cpu"
    old.mkdir(parents=True)
    (old / "cpu.cfs_quota_us").write_text("100000\n")
    (old / "cpu.cfs_period_us").write_text("100000\n")
    assert cores(tmp_path / "v1") == 1


def test_ranks_of_a_machine_share_its_cores(monkeypatch):
    alone = share_of_cores()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
    assert share_of_cores() == 1
    assert alone == cores()


@pytest.mark.parametrize(("rates", "taken"), [((10, 20, 20.1), 1), ((10, 20, 40), 2), ((20, 10, 5), 0)])
def test_threads_settle_on_the_fewest_that_are_fast_enough(monkeypatch, rates, taken):
    monkeypatch.setattr("viewstream.pipeline.workers.share_of_cores", lambda: 4)
    workers, clock, asked = Workers(), count(1), [2, 4, 8]
    monkeypatch.setattr(workers.gate, "busy", lambda: next(clock))  # a second goes by between two looks
    while not workers.settled:
        workers.done(rates[asked.index(workers.gate.limit)])
    assert workers.gate.limit == asked[taken]
    assert Workers(3).settled


def test_a_gate_lets_no_more_threads_in_than_it_may():
    from concurrent.futures import ThreadPoolExecutor

    gate, inside, most = Gate(2), [0], [0]

    def visit(_):
        with gate:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.002)
            inside[0] -= 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(visit, range(20)))
        assert most[0] == 2
        gate.set(5)
        list(pool.map(visit, range(40)))
    assert 2 < most[0] <= 5
    assert gate.busy() > 0
