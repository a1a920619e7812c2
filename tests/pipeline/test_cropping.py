"""The crops of a batch do not depend on how its images are grouped, nor on who decodes them."""

from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest

from viewstream.augment.recipes import moco_v2, transfer
from viewstream.pipeline import cropping
from viewstream.pipeline.choose import open_loader
from viewstream.pipeline.plan.order import Plan

from .dali.dali_loaders import assert_same


def shown(built, views, **options):
    with closing(open_loader("webdataset", built, Plan(len(built), 16, seed=5), views, **options)) as loader:
        return list(loader.epoch(0))


@pytest.mark.parametrize("recipe", [moco_v2, transfer])
def test_images_are_cropped_alike_alone_and_in_groups(built, monkeypatch, recipe):
    together = shown(built, recipe(32), threads=1)
    monkeypatch.setattr(cropping, "GROUP", 1)
    assert_same(shown(built, recipe(32), threads=3), together)


@pytest.mark.parametrize("crops", ["host", "device"])
def test_simplejpeg_makes_the_same_views_where_there_is_no_libturbojpeg(built, monkeypatch, crops):
    ours = shown(built, moco_v2(32), threads=2, crops=crops)
    monkeypatch.setattr("viewstream.pipeline.decoding.has_turbojpeg", lambda: False)
    assert_same(shown(built, moco_v2(32), threads=2, crops=crops), ours)


def test_groups_hold_what_fits_and_every_image_once(built, monkeypatch):
    rows, sizes = np.arange(len(built)), np.array([8])
    boxes = np.zeros((len(rows), 1, 10), np.int32)
    monkeypatch.setattr(cropping, "GROUP", 60_000)
    whole = cropping.Cropping(built, rows, boxes, sizes, np.zeros((len(rows), 1), int), np.empty(0), planes=False)
    groups = [*whole.groups(range(5, 60))]
    assert [i for group in groups for i in group] == [*range(5, 60)]
    size = (3 * built.hw.astype(int).prod(axis=1)).tolist()
    assert all(len(group) == 1 or sum(size[i] for i in group) <= 60_000 for group in groups)
    assert all(sum(size[i] for i in range(a.start, b.start + 1)) > 60_000 for a, b in pairwise(groups))
