"""`check="digest"`: every loader finds a flipped bit of an image, which a decoder shows as other pixels."""

import shutil
from contextlib import closing
from ctypes.util import find_library
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch

from viewstream.augment import moco_v2
from viewstream.pipeline import Plan, open_loader
from viewstream.pipeline.choose import open_set
from viewstream.pipeline.options import LoaderOptions
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.formats.beton import Layout
from viewstream.shards.manifest import Manifest

from ..flipping import flipped

ROW = 7
OTHER = rf"sample {ROW} \(\w+/\w+\) is damaged \(its bytes do not match the digest of the manifest\), .* mends it"
PLANES = pytest.mark.skipif(not find_library("turbojpeg"), reason="no libturbojpeg")
LOADERS = [
    ("folder", {}),
    ("webdataset", {}),
    ("webdataset", {"crops": "device"}),
    pytest.param("webdataset", {"decode": "planes"}, marks=PLANES),
    ("webdataset-stream", {}),
    ("ffcv", {}),
    ("memory", {}),
]


@pytest.fixture
def damaged(built, tmp_path):
    """A copy of a set in which one image has a flipped bit in each format, and still decodes."""
    made = Manifest.open(shutil.copytree(built.root, tmp_path / "set"))
    jpeg = made.path(ROW).read_bytes()
    other = next(bad for bit in range(4 * len(jpeg), 8 * len(jpeg)) if decodes(bad := flipped(jpeg, bit), jpeg))
    (beton,) = made.betons()
    made.path(ROW).write_bytes(other)
    put(made.tars()[made.shard[ROW]], int(made.offset[ROW]), jpeg, other)
    put(beton, int(Layout.of(beton).where[made.beton[ROW]]), jpeg, other)
    return made


def decodes(other, jpeg):
    """Whether `other` decodes without an error, to other pixels than `jpeg`."""
    try:
        found, whole = simplejpeg.decode_jpeg(other), simplejpeg.decode_jpeg(jpeg)
    except ValueError:
        return False
    return found.shape == whole.shape and not np.array_equal(found, whole)


def put(path: Path, first, jpeg, other):
    """Put `other` where `jpeg` lies in a file."""
    data = path.read_bytes()
    assert data[first : first + len(jpeg)] == jpeg
    path.write_bytes(data[:first] + other + data[first + len(jpeg) :])


def shown(manifest, name, epochs=1, **options):
    """The ids that a loader shows, and what it skipped."""
    plan = Plan(len(manifest), 16, seed=5)
    with closing(open_loader(name, manifest, plan, moco_v2(16), threads=2, **options)) as loader:
        ids = [batch.index for epoch in range(epochs) for batch in loader.epoch(epoch)]
        return torch.cat(ids).tolist(), loader.skipped


@pytest.mark.parametrize(("name", "options"), LOADERS)
def test_every_loader_finds_a_flipped_bit_that_the_decoder_passes(damaged, name, options):
    assert ROW in shown(damaged, name, **options)[0]
    with pytest.raises(UserError, match=OTHER):
        shown(damaged, name, check="digest", **options)


@pytest.mark.parametrize(("name", "options"), LOADERS)
def test_a_whole_set_is_shown_as_without_digests(built, name, options):
    assert shown(built, name, 2, check="digest", **options) == shown(built, name, 2, **options)


@pytest.mark.parametrize("name", ["folder", "webdataset", "ffcv", "memory"])
def test_an_image_of_another_digest_is_replaced_on_request(damaged, name):
    ids, skipped = shown(damaged, name, check="digest", skip=True)
    assert ROW not in ids
    assert list(skipped) == [ROW]


def test_an_image_is_compared_when_it_is_read_for_the_first_time(damaged, built):
    other = damaged.path(ROW).read_bytes()
    damaged.path(ROW).write_bytes(built.path(ROW).read_bytes())
    plan = Plan(len(damaged), 16, seed=5)
    with closing(open_loader("folder", damaged, plan, moco_v2(16), threads=2, check="digest")) as loader:
        assert ROW in torch.cat([batch.index for batch in loader.epoch(0)])
        damaged.path(ROW).write_bytes(other)
        assert ROW in torch.cat([batch.index for batch in loader.epoch(1)])


def test_images_without_digests_are_refused_by_name(pets, tmp_path):
    with pytest.raises(UserError, match=r"compares with the digests of a build: .* was not built.*, or leave it out"):
        shown(open_set(str(pets)), "folder", check="digest")
    options = BuildOptions(source=pets, out=tmp_path / "raw", format=("ffcv",), raw_fraction=0.5, workers=1)
    with pytest.raises(UserError, match=r"is stored as raw pixels, which have no digest: leave out --check digest, or"):
        shown(build(options), "ffcv", check="digest", skip=True)
    with pytest.raises(UserError, match="unknown check 'digests': did you mean 'digest'"):
        LoaderOptions(check="digests")
