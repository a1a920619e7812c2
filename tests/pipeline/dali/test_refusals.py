"""The DALI loader refuses raw pixels and impossible views and plans."""

import sys

import numpy as np
import pytest

from viewstream.augment.recipes import evaluation
from viewstream.augment.spec import Normalize
from viewstream.pipeline.choose import open_reader
from viewstream.pipeline.dali.loader import DaliLoader
from viewstream.pipeline.plan.order import Plan
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.errors import UserError

from .dali_loaders import Held, dali


@dali
def test_raw_pixels_are_refused_when_they_are_read(make_loader, built):
    held = Held([built.path(row).read_bytes() for row in range(len(built))])
    held.samples[3] = np.zeros((*built.hw[3], 3), np.uint8)
    with pytest.raises(UserError, match=rf"sample 3 .{built.keys[3]}. is stored as raw pixels, DALI decodes JPEGs"):
        list(make_loader(evaluation(16), reader=held).epoch(0))


@dali
@pytest.mark.full
def test_a_beton_of_raw_pixels_is_refused_when_the_loader_is_created(make_loader, pets, tmp_path):
    pytest.importorskip("ffcv", reason="ffcv is not installed: that reader is left out")
    options = BuildOptions(source=pets, out=tmp_path / "raw", split="val", format=("ffcv",), raw_fraction=1, workers=1)
    raw = build(options)
    with pytest.raises(UserError, match=r"sample 0 .* raw pixels, .*--raw-fraction"):
        make_loader(evaluation(16), manifest=raw, reader="ffcv")


@dali
def test_impossible_views_and_plans_are_refused_when_the_loader_is_created(make_loader, built):
    with pytest.raises(UserError, match="must begin"):
        make_loader(((Normalize(),),))
    with pytest.raises(UserError, match=f"the plan orders {len(built) + 1} samples"):
        make_loader(evaluation(16), plan=Plan(len(built) + 1, 8))


def test_without_dali_the_extra_is_named(built, monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(UserError, match=r"viewstream\[dali\]"):
        DaliLoader(built, Plan(len(built), 8), evaluation(16), open_reader("webdataset", built))
