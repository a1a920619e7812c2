"""A reader of one's own goes through every loader: the same batches, and errors that name its places."""

from contextlib import closing

import numpy as np
import pytest
import torch

from viewstream.augment.recipes import moco_v2, supervised
from viewstream.pipeline.choose import open_loader
from viewstream.pipeline.dali.loader import DaliLoader
from viewstream.pipeline.options import LoaderOptions
from viewstream.pipeline.plan.order import Plan
from viewstream.shards.errors import UserError

from .dali.dali_loaders import dali


class DictReader:
    """JPEGs in a dict by key."""

    def __init__(self, manifest):
        self.keys, self.expected, self.closed = manifest.keys, [], False
        self.jpegs = {key: manifest.path(row).read_bytes() for row, key in enumerate(manifest.keys)}

    def read(self, row):
        return self.jpegs[self.keys[row]]

    def locate(self, row):
        return f"the dict under {self.keys[row]!r}"

    def prefetch(self, rows):
        self.expected += np.concatenate([*rows]).tolist()

    def close(self):
        self.closed = True


@pytest.fixture
def reader(built):
    return DictReader(built)


def epoch(reader, manifest, **options):
    plan = Plan(len(manifest), 16, seed=5)
    with closing(open_loader(reader, manifest, plan, moco_v2(32), threads=2, **options)) as loader:
        return loader, list(loader.epoch(1))


@pytest.mark.parametrize("crops", ["host", "device"])
def test_a_reader_over_a_dict_gives_the_batches_of_webdataset(built, reader, crops):
    ours, theirs = (epoch(source, built, crops=crops)[1] for source in (reader, "webdataset"))
    assert len(ours) == len(theirs) == len(built) // 16
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.index, other.index)
        assert torch.equal(one.target, other.target)
        assert all(torch.equal(a, b) for a, b in zip(one.views, other.views, strict=True))
    assert reader.expected == torch.cat([batch.index for batch in ours]).tolist()
    assert reader.closed


def test_its_damaged_sample_is_named_with_its_place(built, reader):
    key = built.keys[17]
    reader.jpegs[key] = bytes(100)
    with pytest.raises(UserError, match=f"sample 17 .{key}. is damaged .*in the dict under '{key}': mend it there"):
        epoch(reader, built)


def test_its_damaged_sample_is_replaced_with_skip(built, reader):
    reader.jpegs[built.keys[17]] = bytes(100)
    loader, batches = epoch(reader, built, skip=True)
    assert list(loader.skipped) == [17]
    assert 17 not in torch.cat([batch.index for batch in batches])


@dali
def test_dali_takes_it_too(built, reader):
    views, plan = supervised(32), Plan(len(built), 16, seed=5)
    with closing(DaliLoader(built, plan, views, reader, LoaderOptions(threads=2))) as ours:
        one = next(ours.epoch(1))
    with closing(open_loader("dali", built, plan, views, threads=2)) as theirs:
        other = next(theirs.epoch(1))
    assert torch.equal(one.index, other.index)
    assert all(torch.equal(a, b) for a, b in zip(one.views, other.views, strict=True))
