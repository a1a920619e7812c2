"""Images and labels of a set for transforms of your own."""

import io
import multiprocessing
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from viewstream.pipeline import Pictures, open_set
from viewstream.shards import Manifest, UserError, open_folder


def small(image):
    """A transform at module level, as spawned workers need."""
    return torch.from_numpy(np.array(image.resize((8, 8)))).permute(2, 0, 1)


@pytest.mark.parametrize("loader", ["", "webdataset", "ffcv", "folder"])
def test_each_sample_is_its_stored_image_and_label_through_any_reader(built, loader):
    stored = open_folder(built)
    dataset = Pictures(built, loader=loader)
    assert len(dataset) == 96
    assert dataset.classes == ["cat", "dog", "eel", "fox"]
    for row in (0, 17, -1):
        image, label = dataset[row]
        wanted = Image.open(io.BytesIO(stored.read(row % 96)))
        assert np.array_equal(np.asarray(image), np.asarray(wanted.convert("RGB")))
        assert label == built.label[row]
    dataset.close()


def test_class_folders_need_no_build(pets):
    image, label = Pictures(open_set(str(pets)))[0]
    assert image.mode == "RGB"
    assert label in range(4)


QUICK = ("fork", "spawn")
STARTS = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.full)
    for name in multiprocessing.get_all_start_methods()
]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.usefixtures("importable")
def test_workers_that_are_forked_or_spawned_read_the_same(built, start):
    dataset = Pictures(built, small)
    here = [dataset[row][0] for row in range(32)]
    loader = DataLoader(dataset, batch_size=8, num_workers=2, multiprocessing_context=start)
    batches = [x for (x, _), _ in zip(loader, range(4), strict=False)]
    assert torch.equal(torch.cat(batches), torch.stack(here))


def test_a_row_beyond_the_end_is_an_index_error(built):
    with pytest.raises(IndexError):
        Pictures(built)[96]


def test_a_damaged_sample_is_named(built, tmp_path):
    copy = Manifest.open(shutil.copytree(built.root, tmp_path / "set"))
    path = copy.path(3)
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(UserError, match=r"sample 3 \(.*\) is damaged"):
        Pictures(copy, loader="folder")[3]
