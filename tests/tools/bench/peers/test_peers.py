"""Other loaders deliver what a job asks for, or are named with what they need."""

from dataclasses import replace

import numpy as np
import pytest

from viewstream.augment.spec import RandomResizedCrop
from viewstream.tools.bench.loaders.job import Job
from viewstream.tools.bench.peers.pooled import area_views
from viewstream.tools.bench.peers.table import PEERS, peers_of


@pytest.mark.full
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_delivers_the_samples_of_its_job(built, name):
    for package in PEERS[name].packages:
        pytest.importorskip(package)
    job = Job(built, [RandomResizedCrop(32), RandomResizedCrop(16)], batch=16, batches=6, threads=1)
    found, left_out = peers_of(job, [name])
    if name in left_out:
        pytest.skip(left_out[name])  # a library under the package is absent
    assert [found[name](0), found[name](1)] == [96, 96]


def test_peers_that_cannot_run_are_named_with_what_they_need(built, monkeypatch):
    monkeypatch.setattr(
        "viewstream.tools.bench.peers.table.installed", lambda package: package not in ("litdata", "cv2")
    )
    tars_alone = replace(built, info=replace(built.info, formats=("webdataset",)))
    job = Job(tars_alone, [RandomResizedCrop(32)], batch=16, batches=6, threads=1)
    found, left_out = peers_of(job, ["litdata", "stock ffcv", "simplejpeg + cv2 area", "simplejpeg + PIL"])
    assert [*found] == ["simplejpeg + PIL"]
    assert left_out == {
        "litdata": "it needs litdata",
        "stock ffcv": "it needs a set in format ffcv",
        "simplejpeg + cv2 area": "it needs cv2",
    }


def test_views_by_hand_have_the_sizes_of_their_crops_and_show_the_image():
    image = np.full((60, 80, 3), 7, np.uint8)
    views = area_views([RandomResizedCrop(32), RandomResizedCrop(16)])(image)
    assert [view.shape for view in views] == [(32, 32, 3), (16, 16, 3)]
    assert all((view == 7).all() for view in views)
