"""Marks for tests with DALI, a reader in memory, and comparisons of batches."""

import importlib.util
import io
import tarfile

import numpy as np
import pytest
import torch

from viewstream.augment.spec import IMAGENET_STD, size_of
from viewstream.pipeline.batch import SampleReader
from viewstream.shards.care.index import index

LEVELS = 255 * torch.tensor(IMAGENET_STD).view(3, 1, 1)  # of 8 bits in a normalized view
WITHOUT = importlib.util.find_spec("nvidia") is None or importlib.util.find_spec("nvidia.dali") is None
dali = pytest.mark.skipif(WITHOUT, reason="DALI is not installed: the extra 'dali' brings it")
ON = [
    pytest.param("cpu", marks=dali),
    pytest.param(
        "cuda", marks=[dali, pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")]
    ),
]


class Held(SampleReader):
    """A reader of samples in memory."""

    def __init__(self, samples):
        self.samples, self.expected, self.closed = samples, [], False

    def read(self, row):
        return self.samples[row]

    def locate(self, row):
        return f"place {row} in memory"

    def prefetch(self, rows):
        self.expected.append(np.concatenate([*rows]))

    def close(self):
        self.closed = True


def assert_near(ours, theirs, views, mean=1.5, percentile=8):
    """The same samples, pixels within bounds in 8-bit levels."""
    ours, theirs = list(ours), list(theirs)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.index.cpu(), other.index)
        assert torch.equal(one.target.cpu(), other.target)
    for v, view in enumerate(views):
        assert all(batch.views[v].is_contiguous(memory_format=torch.channels_last) for batch in ours)
        a, b = (torch.cat([batch.views[v].cpu() for batch in batches]) for batches in (ours, theirs))
        assert a.shape == b.shape == (len(a), 3, size_of(view), size_of(view))
        gap = (a - b).abs() * LEVELS
        assert gap.mean() <= mean
        assert np.percentile(gap.numpy(), 99) <= percentile


def assert_same(ours, theirs):
    ours, theirs = list(ours), list(theirs)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.index, other.index)
        assert all(torch.equal(v, w) for v, w in zip(one.views, other.views, strict=True))


def indexed(jpegs, folder):
    """A set of these JPEGs, in a tar that was not built here."""
    with tarfile.open(folder / "theirs.tar", "w") as tar:
        for n, data in enumerate(jpegs):
            member = tarfile.TarInfo(f"{n:03d}.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return index(folder, workers=1)
