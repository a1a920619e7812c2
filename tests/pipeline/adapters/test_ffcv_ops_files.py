"""Our views inside ffcv's own Loader: files of its writer, damaged files."""

import shutil

import numpy as np
import pytest

from viewstream.augment.recipes import moco_v2
from viewstream.pipeline.plan.order import Plan
from viewstream.shards.care.index import index
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest

from .ffcv_loaders import FFCV, assert_same, kept, staged, streamed, turned

pytestmark = FFCV


class Rows:
    """The input of ffcv's writer: (image, label), the label being the number modulo 5."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, n):
        return np.asarray(self.images[n]), n % 5


@pytest.fixture
def theirs(photos, tmp_path):
    """(write mode) -> an indexed set of a .beton by ffcv's writer, with rows in another order than in the file."""
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
def test_files_of_its_own_writer_work_in_any_order_of_ids(theirs, mode):
    made = theirs(mode)
    assert (made.beton != np.arange(len(made))).any()
    plan = Plan(len(made), 6, seed=1)
    assert_same(kept(staged(made, moco_v2(32), plan)[0]), streamed(made, moco_v2(32), plan))
    if mode == "smart":
        from viewstream.shards.formats.beton import Layout

        assert set(Layout.of(made.beton_path()).mode) == {0, 1}


@pytest.mark.parametrize("os_cache", [True, pytest.param(False, marks=pytest.mark.full)])
def test_a_damaged_sample_is_named_in_place_of_its_batch(built, tmp_path, os_cache):
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
    assert next(batches, None) is None  # the epoch has ended
    batches.join(10)
    assert not batches.is_alive()
