"""Each loader is opened by its name, each set by its place."""

import pytest
import torch

from viewstream.augment.recipes import moco_v2
from viewstream.pipeline.choose import LOADERS, open_loader, open_reader, open_set
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.plan.orders import WindowShuffle
from viewstream.shards.errors import UserError

PACKAGES = {"ffcv": "ffcv", "dali": "nvidia.dali", "webdataset-stream": "webdataset"}


def first(name, manifest, **options):
    plan = Plan(len(manifest), 16, seed=3, order=WindowShuffle(manifest.shard, 2))
    loader = open_loader(name, manifest, plan, moco_v2(32), threads=2, **options)
    try:
        return next(iter(loader.epoch(1)))
    finally:
        loader.close()


@pytest.mark.parametrize("name", LOADERS)
def test_every_loader_shows_the_same_first_batch(built, name):
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name], reason=f"{PACKAGES[name]} is not installed: that loader is left out")
    batch, expected = first(name, built), first("webdataset", built)
    assert torch.equal(batch.index, expected.index)
    assert torch.equal(batch.target, expected.target)
    for a, b in zip(batch.views, expected.views, strict=True):
        assert (a - b).abs().mean() < (0.03 if name == "dali" else 1e-6)


def test_a_folder_of_images_is_a_set_for_the_folder_loader_alone(pets, built):
    data = open_set(str(pets))
    batch = first("folder", data)
    assert len(batch.index) == 16
    for name in ("ffcv", "dali"):
        with pytest.raises(UserError, match="is a folder of images, not a built set: read it with --loader folder"):
            first(name, data)
    assert len(open_set(str(built.root))) == len(built)


def test_what_is_no_set_is_refused(tmp_path):
    with pytest.raises(UserError, match="build_shards"):
        open_set(str(tmp_path / "absent"))
    with pytest.raises(UserError, match=r"dataset\.json is not there"):
        open_set("memory://nothing/here", cache=tmp_path / "cache")


def test_streamed_tars_refuse_to_skip(built):
    for reader in ("webdataset-stream", open_reader("webdataset-stream", built)):
        with pytest.raises(UserError, match=r"reads only the samples of its order.* choose --loader webdataset"):
            first(reader, built, skip=True)


def test_an_unknown_loader_suggests_the_nearest(built):
    with pytest.raises(UserError, match="did you mean 'webdataset"):
        first("webdatset", built)
