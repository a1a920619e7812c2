"""Our views inside ffcv's own Loader: the pixels of ViewLoader, batch by batch."""

import numpy as np
import pytest
import torch

from viewstream.augment.recipes import evaluation, moco_v2, swav
from viewstream.pipeline.choose import open_loader
from viewstream.pipeline.plan.order import Plan

from .ffcv_loaders import FFCV, assert_same, kept, staged, streamed, turned

pytestmark = FFCV


@pytest.mark.parametrize(
    ("recipe", "os_cache"), [(moco_v2, True), *(pytest.param(swav, c, marks=pytest.mark.full) for c in (True, False))]
)
def test_its_loader_shows_the_views_of_ours_epoch_after_epoch(built, recipe, os_cache):
    made, plan = turned(built), Plan(len(built), 16, seed=5)
    loader, _ = staged(made, recipe(32), plan, os_cache=os_cache)
    for epoch in range(2):
        assert_same(kept(loader), streamed(made, recipe(32), plan, epoch))


def test_numba_compiles_code_that_writes_bytes_after_a_mapped_file(built):
    import numba

    def copied(source):
        line = np.zeros(3, np.uint8)
        line[:] = source
        return line

    source = np.arange(3, dtype=np.uint8)
    assert numba.njit(copied)(source).tolist() == [0, 1, 2]
    loader, _ = staged(built, moco_v2(32), Plan(len(built), 16), os_cache=True)
    next(iter(loader))
    source.flags.writeable = False  # another type, compiled again
    assert numba.njit(copied)(source).tolist() == [0, 1, 2]


@pytest.mark.full
def test_each_of_two_ranks_gets_its_share(built):
    for rank in range(2):
        plan = Plan(len(built), 16, 2, rank, 5)
        assert_same(kept(staged(built, moco_v2(32), plan)[0]), streamed(built, moco_v2(32), plan))


@pytest.mark.full
def test_uint8_views_go_through_stages_of_ffcv(built):
    from ffcv.fields.decoders import IntDecoder
    from ffcv.transforms import Squeeze, ToTensor

    from viewstream.pipeline.adapters.ffcv_ops import pipelines

    plan = Plan(len(built), 16)
    more = {"label": [IntDecoder(), ToTensor(), Squeeze(1)]}
    stages = pipelines(built, moco_v2(32), plan)
    stages.pipelines["view1"].transforms.append(ToTensor())
    from ffcv.loader import Loader

    loader = Loader(
        str(built.beton_path()), 16, num_workers=1, order=stages.order, pipelines={**stages.pipelines, **more}
    )
    ours = open_loader("ffcv", built, plan, moco_v2(32), threads=1)
    for (label, row, one, two), host in zip(loader, ours.host_batches(0), strict=True):
        assert torch.equal(row, host.index)
        assert torch.equal(label, host.target)
        assert isinstance(one, np.ndarray)
        assert isinstance(two, torch.Tensor)
        assert one.shape == two.shape == (16, 32, 32, 3)
        assert torch.equal(torch.cat([torch.from_numpy(one), two]), torch.cat(host.pixels.views()))
    ours.close()


@pytest.mark.full
def test_a_resumed_epoch_is_the_tail_of_the_whole_and_the_next_one_is_whole(built):
    plan = Plan(len(built), 16, seed=5)
    loader, order = staged(built, moco_v2(32), plan)
    order.resume(epoch=3, step=4)
    assert len(loader) == len(plan) - 4
    for epoch, start in ((3, 4), (4, 0)):
        assert_same(kept(loader), streamed(built, moco_v2(32), plan, epoch, start))


@pytest.mark.full
def test_two_epochs_at_once_keep_their_draws(built):
    plan = Plan(len(built), 16, seed=5)
    loader, _ = staged(built, moco_v2(32), plan)
    one, two = iter(loader), iter(loader)
    pairs = [(kept([a])[0], kept([b])[0]) for a, b in zip(one, two, strict=True)]
    for epoch, theirs in enumerate(zip(*pairs, strict=True)):
        assert_same(theirs, streamed(built, moco_v2(32), plan, epoch))


@pytest.mark.full
def test_an_evaluation_shows_each_image_once_over_all_ranks(built):
    seen = []
    for rank in range(3):
        loader, _ = staged(built, evaluation(16), Plan(len(built), 93, 3, rank, tail="exact"), drop_last=False)
        seen += [i for _, row, _ in kept(loader) for i in row.tolist()]
    assert sorted(seen) == list(range(len(built)))
