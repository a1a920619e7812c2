"""A plain folder, a built set and a kept source give the same batches."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from viewstream.augment.recipes import evaluation, moco_v2
from viewstream.pipeline.choose import open_loader
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.readers.folder import KeptSourceReader, PlainFolderReader, open_reader
from viewstream.shards.encoding.encode import encode
from viewstream.shards.formats.read import FolderReader
from viewstream.shards.plain import KEPT, plain


def batches(manifest, reader, views):
    loader = open_loader(reader, manifest, Plan(len(manifest), 12, seed=5), views, threads=2)
    try:
        return list(loader.epoch(3))
    finally:
        loader.close()


def assert_same(one, two):
    assert len(one) == len(two) > 0
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.index, b.index)
        assert torch.equal(a.target, b.target)
        assert all(torch.equal(v, w) for v, w in zip(a.views, b.views, strict=True))


def test_a_plain_folder_gives_the_bytes_that_a_build_stores_for_odd_images_too(zoo, zoo_built):
    reader, built = open_reader(plain(zoo)), open_reader(zoo_built)
    assert isinstance(reader, PlainFolderReader)
    assert isinstance(built, FolderReader)
    for row in range(len(zoo_built)):
        assert reader.read(row) == built.read(row), zoo_built.keys[row]


@pytest.mark.parametrize("recipe", [moco_v2, evaluation])
def test_a_plain_folder_and_a_built_one_give_the_same_batches(zoo, zoo_built, recipe):
    folder = plain(zoo)
    assert_same(
        batches(folder, open_reader(folder), recipe(32)), batches(zoo_built, open_reader(zoo_built), recipe(32))
    )


def test_a_kept_source_gives_the_same_batches(usual, usual_kept):
    reader = open_reader(usual_kept, str(usual))
    assert isinstance(reader, KeptSourceReader)
    for row, name in enumerate(usual_kept.strings("source")):
        assert reader.read(row) == (usual / "train" / name).read_bytes()
    folder = plain(usual)
    assert_same(batches(usual_kept, reader, moco_v2(32)), batches(folder, open_reader(folder), moco_v2(32)))


def test_every_reader_serves_many_threads(zoo, zoo_built, usual, usual_kept):
    for manifest, source in ((plain(zoo), ""), (zoo_built, ""), (usual_kept, str(usual))):
        reader = open_reader(manifest, source)
        alone = [reader.read(row) for row in range(len(manifest))]
        again = open_reader(manifest, source)
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(again.read, list(range(len(manifest))) * 3)) == alone * 3


def test_looks_and_reads_leave_the_warning_filters_alone(zoo):
    before = list(warnings.filters)
    reader = open_reader(plain(zoo))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(reader.read, range(52)))
    assert list(warnings.filters) == before


def test_every_reader_locates_a_sample(zoo, zoo_built, usual, usual_kept):
    for manifest, source in ((plain(zoo), ""), (zoo_built, ""), (usual_kept, str(usual))):
        reader = open_reader(manifest, source)
        with open(reader.locate(5), "rb") as file:
            assert reader.read(5) == (encode(file.read(), KEPT).jpeg)
