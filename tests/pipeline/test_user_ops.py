"""Ops of the user's own give the same pixels through every loader, and are refused where there are no floats."""

import pickle
from contextlib import closing
from dataclasses import dataclass, replace

import pytest
import torch
from kornia import augmentation as K
from torch import Tensor
from torch.utils.data import DataLoader

from viewstream.augment import KeyedGenerator, Kornia, evaluation, moco_v2
from viewstream.pipeline import Plan, as_dataset, open_loader
from viewstream.pipeline.static.write import bare
from viewstream.shards import UserError


@dataclass(frozen=True)
class Noise:
    sigma: float = 0.5

    def __call__(self, x: Tensor, keyed: KeyedGenerator) -> Tensor:
        return x + self.sigma * keyed.normal(*x.shape[1:])


PLAIN = moco_v2(32)
NOISY = tuple((*view, Noise()) for view in PLAIN)
KORNIA = Kornia(K.ImageSequential(K.RandomErasing(p=0.7), K.RandomPerspective(p=0.7)))
ERASED = tuple((*view, KORNIA) for view in PLAIN)


def batches(built, name, views, plan, start=0):
    with closing(open_loader(name, built, plan, views, threads=2)) as loader:
        return list(loader.epoch(2, start))


def test_every_loader_and_rank_adds_the_same_noise(built):
    plan = Plan(len(built), 12, seed=5)
    whole = batches(built, "webdataset", NOISY, plan)
    for ours, quiet in zip(whole, batches(built, "webdataset", PLAIN, plan), strict=True):
        noise = torch.stack([a - b for a, b in zip(ours.views, quiet.views, strict=True)]) / 0.5
        assert abs(noise.mean()) < 0.02
        assert abs(noise.std() - 1) < 0.02
        assert not torch.equal(*noise)
    for name in ("folder", "ffcv"):
        for one, two in zip(whole, batches(built, name, NOISY, plan), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one.views, two.views, strict=True))
    ranks = zip(*(batches(built, "folder", NOISY, replace(plan, world_size=2, rank=r)) for r in range(2)), strict=True)
    for one, parts in zip(whole, ranks, strict=True):
        assert torch.equal(one.views[1], torch.cat([part.views[1] for part in parts]))


def test_torchs_dataloader_adds_the_same_noise(built):
    dataset, steps = as_dataset(built, NOISY, batch=12, seed=5)
    steps.set_epoch(2)
    whole = batches(built, "webdataset", NOISY, Plan(len(built), 12, seed=5))
    for ours, (views, _, index) in zip(whole, DataLoader(dataset, batch_sampler=steps), strict=True):
        assert index.tolist() == ours.index.tolist()
        assert all(torch.equal(a, b) for a, b in zip(ours.views, views, strict=True))
    dataset.close()


def test_modules_of_kornia_give_the_same_pixels_through_every_loader_rank_worker_and_resume(built):
    plan = Plan(len(built), 12, seed=5)
    whole = batches(built, "webdataset", ERASED, plan)
    assert not torch.equal(whole[0].views[1], batches(built, "webdataset", PLAIN, plan)[0].views[1])
    for found, first in ((batches(built, "ffcv", ERASED, plan), 0), (batches(built, "folder", ERASED, plan, 3), 3)):
        for one, two in zip(whole[first:], found, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one.views, two.views, strict=True))
    ranks = zip(*(batches(built, "folder", ERASED, replace(plan, world_size=2, rank=r)) for r in range(2)), strict=True)
    for one, parts in zip(whole, ranks, strict=True):
        torch.testing.assert_close(one.views[1], torch.cat([part.views[1] for part in parts]), rtol=0, atol=1e-5)
    dataset, steps = as_dataset(built, ERASED, batch=12, seed=5)
    steps.set_epoch(2)
    worker = pickle.loads(pickle.dumps(dataset))
    for ours, (views, _, _) in zip(whole, DataLoader(worker, batch_sampler=steps), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours.views, views, strict=True))
    dataset.close()
    worker.close()


def test_dali_adds_the_same_noise(built):
    pytest.importorskip("nvidia.dali", reason="DALI is not installed: the extra 'dali' brings it")
    plan, noisy = Plan(len(built), 12, seed=5), tuple((*view, Noise()) for view in evaluation(32))
    loud, ours = (batches(built, name, noisy, plan) for name in ("dali", "folder"))
    quiet, calm = (batches(built, name, evaluation(32), plan) for name in ("dali", "folder"))
    for a, b, c, d in zip(loud, quiet, ours, calm, strict=True):
        torch.testing.assert_close(a.views[0] - b.views[0], c.views[0] - d.views[0], rtol=0, atol=1e-5)


def test_an_op_of_ones_own_is_refused_where_there_are_no_floats(built):
    with pytest.raises(UserError, match="a JPEG has none: choose a recipe without it"):
        bare(NOISY, 2, "normal")
    ffcv_ops = pytest.importorskip("viewstream.pipeline.adapters.ffcv_ops", reason="ffcv is not installed")
    with pytest.raises(UserError, match="floats=True"):
        ffcv_ops.pipelines(built, NOISY, Plan(len(built), 12))
