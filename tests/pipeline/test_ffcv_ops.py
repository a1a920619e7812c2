"""Our draws inside ffcv's own Loader: Stream's pixels, from our files and from its writer's."""

import shutil
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from viewstream.augment.recipes import evaluation, moco_v2, swav
from viewstream.pipeline.choose import open_door
from viewstream.pipeline.order import Plan
from viewstream.pipeline.stream import Stream
from viewstream.shards.errors import UserError
from viewstream.shards.index import index
from viewstream.shards.manifest import Manifest

pytestmark = [  # importing ffcv alone takes ten seconds
    pytest.mark.full,
    pytest.mark.skipif(not find_spec("ffcv"), reason="ffcv is not installed"),
]


def staged(manifest, views, plan, floats=True, more=None, **words):
    """A Loader and its order."""
    from ffcv.loader import Loader

    from viewstream.pipeline.ffcv_ops import pipelines

    stages = pipelines(manifest, views, plan, floats=floats)
    words = {"batch_size": plan.batch // plan.world, "num_workers": 2, **words}
    asked = {**stages.pipelines, **(more or {})}
    return Loader(str(manifest.beton_path()), order=stages.order, pipelines=asked, **words), stages.order


def kept(loader):
    """Batches (label, row, views), cloned."""
    out = []
    for label, row, *views in loader:
        out.append((label.clone()[:, 0], row.clone(), [torch.as_tensor(view).clone() for view in views]))
    return out


def streamed(manifest, views, plan, epoch=0, start=0):
    stream = Stream(manifest, plan, views, open_door("ffcv", manifest), threads=2)
    try:
        return list(stream.epoch(epoch, start))
    finally:
        stream.close()


def assert_same(theirs, ours):
    assert len(theirs) == len(ours)
    for (label, row, views), batch in zip(theirs, ours, strict=True):
        assert torch.equal(row, batch.index)
        assert torch.equal(label, batch.target)
        for one, other in zip(views, batch.views, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def turned(manifest):
    """The same samples under other ids, so that an id is not its number in the .beton."""
    order = np.random.default_rng(3).permutation(len(manifest))
    columns = {name: getattr(manifest, name)[order] for name in ("uid", "label", "height", "width", "bytes", "beton")}
    other = replace(manifest, **columns)
    other.__dict__["keys"] = [manifest.keys[i] for i in order]
    return other


@pytest.mark.parametrize(
    ("recipe", "os_cache"), [(moco_v2, True), *(pytest.param(swav, c, marks=pytest.mark.full) for c in (True, False))]
)
def test_its_loader_shows_what_stream_shows_epoch_after_epoch(built, recipe, os_cache):
    made, plan = turned(built), Plan(len(built), 16, seed=5)
    loader, _ = staged(made, recipe(32), plan, os_cache=os_cache)
    for epoch in range(2):
        assert_same(kept(loader), streamed(made, recipe(32), plan, epoch))


def test_numba_compiles_what_writes_bytes_after_a_loader_with_a_mapped_file(built):
    import numba

    def copied(source):
        line = np.zeros(3, np.uint8)
        line[:] = source
        return line

    source = np.arange(3, dtype=np.uint8)
    assert numba.njit(copied)(source).tolist() == [0, 1, 2]
    loader, _ = staged(built, moco_v2(32), Plan(len(built), 16), os_cache=True)
    next(iter(loader))
    source.flags.writeable = False  # another type: compiled anew
    assert numba.njit(copied)(source).tolist() == [0, 1, 2]


@pytest.mark.full
def test_each_of_two_ranks_gets_its_share(built):
    for rank in range(2):
        plan = Plan(len(built), 16, 2, rank, 5)
        assert_same(kept(staged(built, moco_v2(32), plan)[0]), streamed(built, moco_v2(32), plan))


@pytest.mark.full
def test_bytes_go_through_stages_of_its_own(built):
    from ffcv.fields.decoders import IntDecoder
    from ffcv.transforms import Squeeze, ToTensor

    from viewstream.pipeline.ffcv_ops import pipelines

    plan = Plan(len(built), 16)
    more = {"label": [IntDecoder(), ToTensor(), Squeeze(1)]}
    stages = pipelines(built, moco_v2(32), plan)
    stages.pipelines["view1"].transforms.append(ToTensor())
    from ffcv.loader import Loader

    loader = Loader(
        str(built.beton_path()), 16, num_workers=1, order=stages.order, pipelines={**stages.pipelines, **more}
    )
    stream = Stream(built, plan, moco_v2(32), open_door("ffcv", built), threads=1)
    for (label, row, one, two), host in zip(loader, stream.host_batches(0), strict=True):
        assert torch.equal(row, host.index)
        assert torch.equal(label, host.target)
        assert isinstance(one, np.ndarray)
        assert isinstance(two, torch.Tensor)
        assert one.shape == two.shape == (16, 32, 32, 3)
        assert torch.equal(torch.cat([torch.from_numpy(one), two]), host.pixels.view(32, 32, 32, 3))
    stream.close()


@pytest.mark.full
def test_a_resumed_epoch_is_the_tail_of_the_whole_and_the_next_one_is_whole(built):
    plan = Plan(len(built), 16, seed=5)
    loader, order = staged(built, moco_v2(32), plan)
    order.resume(epoch=3, step=4)
    assert len(loader) == len(plan) - 4
    for epoch, start in ((3, 4), (4, 0)):
        assert_same(kept(loader), streamed(built, moco_v2(32), plan, epoch, start))


@pytest.mark.full
def test_two_epochs_under_way_at_once_keep_their_draws(built):
    plan = Plan(len(built), 16, seed=5)
    loader, _ = staged(built, moco_v2(32), plan)
    one, two = iter(loader), iter(loader)
    pairs = [(kept([a])[0], kept([b])[0]) for a, b in zip(one, two, strict=True)]
    for epoch, theirs in enumerate(zip(*pairs, strict=True)):
        assert_same(theirs, streamed(built, moco_v2(32), plan, epoch))


@pytest.mark.full
def test_an_evaluation_shows_every_picture_once_over_all_ranks(built):
    seen = []
    for rank in range(3):
        loader, _ = staged(built, evaluation(16), Plan(len(built), 93, 3, rank, tail="exact"), drop_last=False)
        seen += [i for _, row, _ in kept(loader) for i in row.tolist()]
    assert sorted(seen) == list(range(len(built)))


class Rows:
    """What ffcv's writer reads: (image, label), the label a shifted number."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, n):
        return np.asarray(self.images[n]), n % 5


@pytest.fixture
def theirs(photos, tmp_path):
    """(write mode) -> a set of a .beton by ffcv's writer, indexed, its rows in another order than the file's."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    def make(mode):
        folder = tmp_path / mode
        folder.mkdir()
        field = RGBImageField(write_mode=mode, smart_threshold=60_000)
        writer = DatasetWriter(str(folder / "some.beton"), {"image": field, "label": IntField()}, num_workers=1)
        writer.from_indexed_dataset(Rows(photos(24)), shuffle_indices=True)
        return turned(index(folder, workers=1))

    return make


@pytest.mark.full
@pytest.mark.parametrize("mode", ["jpg", "raw", "smart"])
def test_files_of_its_own_writer_work_whatever_the_order_of_ids(theirs, mode):
    made = theirs(mode)
    assert (made.beton != np.arange(len(made))).any()
    plan = Plan(len(made), 6, seed=1)
    assert_same(kept(staged(made, moco_v2(32), plan)[0]), streamed(made, moco_v2(32), plan))
    if mode == "smart":
        from viewstream.shards.beton import Layout

        assert set(Layout.of(made.beton_path()).mode) == {0, 1}


@pytest.mark.parametrize("os_cache", [True, pytest.param(False, marks=pytest.mark.full)])
def test_a_damaged_sample_is_named_where_its_batch_was_due(built, tmp_path, os_cache):
    shutil.copytree(built.root, tmp_path / "set")
    broken, plan = Manifest.open(tmp_path / "set"), Plan(len(built), 8, seed=5)
    step = 7
    row = int([*plan.ids(0)][step][2])
    data, jpeg = bytearray(broken.beton_path().read_bytes()), built.path(row).read_bytes()
    at = data.index(jpeg)
    data[at + len(jpeg) // 3 : at + len(jpeg)] = bytes(len(jpeg) - len(jpeg) // 3)
    broken.beton_path().write_bytes(data)
    batches = iter(staged(broken, moco_v2(32), plan, os_cache=os_cache)[0])
    assert len([next(batches) for _ in range(step)]) == step
    with pytest.raises(UserError, match=rf"sample {row} .{broken.keys[row]}. is damaged"):
        next(batches)
    assert next(batches, None) is None  # and that was all
    batches.join(10)
    assert not batches.is_alive()


def test_what_does_not_fit_the_plan_is_refused(built):
    plan = Plan(len(built), 16)
    with pytest.raises(UserError, match="batch_size=16"):
        staged(built, moco_v2(32), plan, batch_size=8)
    with pytest.raises(UserError, match="without indices"):
        staged(built, moco_v2(32), plan, indices=[1, 2, 3])


def test_samples_that_share_a_number_in_the_file_are_refused(built):
    from viewstream.pipeline.ffcv_ops import pipelines

    with pytest.raises(UserError, match=r"90 samples of .* have another's number"):
        pipelines(replace(built, beton=built.beton % 6), moco_v2(32), Plan(len(built), 16))


@pytest.mark.full
def test_a_last_batch_that_the_loader_would_drop_is_refused(built):
    with pytest.raises(UserError, match="drop_last=False"):
        staged(built, moco_v2(32), Plan(len(built), 36, tail="exact"))


def test_another_file_or_field_than_the_manifests_is_refused(built, built_val):
    from ffcv.loader import Loader

    from viewstream.pipeline.ffcv_ops import pipelines

    stages = pipelines(built, moco_v2(32), Plan(len(built), 16))
    with pytest.raises(UserError, match=r"is not the \.beton"):
        Loader(str(built_val.beton_path()), 16, order=stages.order, pipelines=stages.pipelines)
    stages = pipelines(built, moco_v2(32), Plan(len(built), 16), field="picture")
    with pytest.raises(UserError, match="unknown field 'picture'"):
        Loader(str(built.beton_path()), 16, order=stages.order, pipelines=stages.pipelines)
