"""ffcv's own Loader with our stages, and our own loader for comparison."""

from contextlib import closing
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from viewstream.pipeline.choose import open_loader

FFCV = [  # importing ffcv alone takes ten seconds
    pytest.mark.full,
    pytest.mark.skipif(not find_spec("ffcv"), reason="ffcv is not installed"),
]


def staged(manifest, views, plan, floats=True, more=None, **options):
    """A Loader and its order."""
    from ffcv.loader import Loader

    from viewstream.pipeline.adapters.ffcv_ops import pipelines

    stages = pipelines(manifest, views, plan, floats=floats)
    options = {"batch_size": plan.batch // plan.world_size, "num_workers": 2, **options}
    asked = {**stages.pipelines, **(more or {})}
    return Loader(str(manifest.beton_path()), order=stages.order, pipelines=asked, **options), stages.order


def kept(loader):
    """Batches (label, row, views), cloned."""
    out = []
    for label, row, *views in loader:
        out.append((label.clone()[:, 0], row.clone(), [torch.as_tensor(view).clone() for view in views]))
    return out


def streamed(manifest, views, plan, epoch=0, start=0):
    with closing(open_loader("ffcv", manifest, plan, views, threads=2)) as loader:
        return list(loader.epoch(epoch, start))


def assert_same(theirs, ours):
    assert len(theirs) == len(ours)
    for (label, row, views), batch in zip(theirs, ours, strict=True):
        assert torch.equal(row, batch.index)
        assert torch.equal(label, batch.target)
        for one, other in zip(views, batch.views, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def turned(manifest):
    """The same samples with other ids, so that an id differs from its number in the .beton."""
    order = np.random.default_rng(3).permutation(len(manifest))
    return manifest.take(order, manifest.label[order], manifest.info.classes)
