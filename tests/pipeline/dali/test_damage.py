"""The DALI loader names damaged samples, or shows the same replacements as every other loader."""

import os
import shutil
from dataclasses import replace

import pytest

from viewstream.augment.recipes import evaluation, moco_v2, supervised
from viewstream.pipeline.dali.loader import DaliLoader
from viewstream.pipeline.loader import ViewLoader
from viewstream.pipeline.plan.order import Plan
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest

from .dali_loaders import ON, Held, assert_near, assert_same, dali, indexed


def spoilt(built, folder, row, spoil):
    """A copy of the set with a spoilt sample `row`, and the name of its tar."""
    shutil.copytree(built.root, folder)
    broken = Manifest.open(folder)
    tar, jpeg = broken.tars()[broken.shard[row]], built.path(row).read_bytes()
    data = bytearray(tar.read_bytes())
    at = data.index(jpeg)
    data[at : at + len(jpeg)] = spoil(jpeg)
    tar.write_bytes(data)
    return broken, tar.name


@pytest.fixture
def cut_short(built, tmp_path, monkeypatch):
    """A set with right digests in which three JPEGs end too soon."""
    jpegs = [built.path(row).read_bytes() for row in range(len(built))]
    for row in (7, 8, 40):
        jpegs[row] = jpegs[row][: len(jpegs[row]) // 2]
    monkeypatch.setattr("viewstream.shards.care.headers.fault_of", lambda data: "")  # as older versions indexed it
    return indexed(jpegs, tmp_path)


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize(
    "spoil", [lambda j: bytes(len(j)), lambda j: j[: len(j) // 3] + bytes(len(j) - len(j) // 3)], ids=["all", "tail"]
)
def test_a_damaged_sample_is_named_with_its_shard_and_the_remedy(make_loader, built, tmp_path, spoil, on):
    broken, tar = spoilt(built, tmp_path / "set", 17, spoil)
    loader = make_loader(moco_v2(32), manifest=broken, device=on)
    for _ in range(2):  # the same in the next epoch
        with pytest.raises(UserError, match=rf"sample 17 .{broken.keys[17]}. is damaged .*{tar}.*--repair"):
            list(loader.epoch(0))


@dali
def test_a_loader_goes_on_after_a_damaged_sample(make_loader, built):
    jpegs = [built.path(row).read_bytes() for row in range(len(built))]
    plan, good = Plan(len(built), 16, tail="exact"), list(jpegs)
    jpegs[20] = jpegs[20][: len(jpegs[20]) // 2]
    jpegs[36] = jpegs[36][: len(jpegs[36]) // 2]
    loader = make_loader(supervised(32), plan=plan, reader=Held(jpegs))
    for row in (20, 36):
        with pytest.raises(UserError, match=f"sample {row} "):
            list(loader.epoch(0, start=row // 16))
    whole = make_loader(supervised(32), plan=plan, reader=Held(good))
    assert_same(loader.epoch(0, start=3), whole.epoch(0, start=3))


@pytest.mark.parametrize("on", ON)
def test_a_sample_that_was_stored_damaged_is_named(make_loader, cut_short, on):
    remedy = r"it was so when the set was indexed, build a set without it .`build_shards.py --on-error skip`.$"
    with pytest.raises(UserError, match=r"sample 7 .007. is damaged .*theirs.tar.*" + remedy):
        list(make_loader(supervised(32), plan=Plan(96, 16, tail="exact"), manifest=cut_short, device=on).epoch(0))


@pytest.mark.parametrize("on", ON)
@pytest.mark.parametrize("stored", [True, False])
def test_damaged_samples_get_the_replacements_of_every_other_loader(
    make_loader, built, cut_short, tmp_path, stored, on, capsys
):
    manifest = cut_short if stored else spoilt(built, tmp_path / "copy", 17, lambda j: bytes(len(j)))[0]
    views = supervised(32)
    ours, theirs = (make_loader(views, kind, manifest=manifest, skip=True) for kind in (DaliLoader, ViewLoader))
    for epoch in range(2):
        assert_near(ours.epoch(epoch), theirs.epoch(epoch), views)
    assert sorted(ours.skipped) == sorted(theirs.skipped) == ([7, 8, 40] if stored else [17])
    assert capsys.readouterr().err.count("skipped: sample") == 2 * len(ours.skipped)
    exact = make_loader(views, plan=Plan(96, 16, tail="exact"), manifest=manifest, device=on, skip=True)
    with pytest.raises(UserError, match="is damaged"):
        list(exact.epoch(0))


@dali
@pytest.mark.parametrize("change", [-1, 1])
def test_an_image_of_another_size_than_in_the_manifest_is_named(make_loader, built, change):
    hw = built.hw.copy()
    hw[9, 0] += change
    with pytest.raises(UserError, match=rf"sample 9 .{built.keys[9]}. .*the manifest says \[{hw[9, 0]}"):
        list(make_loader(moco_v2(32), manifest=replace(built, hw=hw)).epoch(0))


@dali
def test_an_error_of_the_reader_is_passed_on(make_loader, built, tmp_path):
    shutil.copytree(built.root, tmp_path / "set")
    broken = Manifest.open(tmp_path / "set")
    os.truncate(broken.tars()[0], broken.tars()[0].stat().st_size // 2)
    with pytest.raises(UserError, match="the file is truncated"):
        list(make_loader(evaluation(16), manifest=broken).epoch(0))
