"""The benchmark of the loaders measures every loader against the floor and names what limits."""

import json
from dataclasses import replace

import numpy as np
import pytest

from viewstream.augment.recipes import moco_v2
from viewstream.augment.spec import RandomResizedCrop
from viewstream.pipeline.timing import Times
from viewstream.tools.bench.loader import measured
from viewstream.tools.bench.loader_cases import cases
from viewstream.tools.bench.loader_job import Job
from viewstream.tools.bench.loader_report import verdict
from viewstream.tools.bench.peers import PEERS, peers_of
from viewstream.tools.bench.peers_pooled import area_views


@pytest.mark.full
def test_bench_loader_measures_every_loader_against_the_floor(program, built, tmp_path):
    out = tmp_path / "rates.json"
    sizes = ("--size", 32, "--batch-size", 16, "--rounds", 1)
    done = program("tools/bench/loader.py", "--data", built.root, *sizes, "--out", out)
    assert done.returncode == 0, done.stderr
    rates = json.loads(out.read_text())["samples_per_second"]
    assert {"floor: decode only", "folder", "webdataset"} <= rates.keys()
    assert min(rates.values()) > 0


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
    monkeypatch.setattr("viewstream.tools.bench.peers.installed", lambda package: package not in ("litdata", "cv2"))
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


def test_whole_views_from_files_and_from_memory_are_measured_by_the_time_of_the_processor_too(built):
    job, times = Job(built, [RandomResizedCrop(16)] * 2, batch=16, batches=2, threads=1, rendered=True), {}
    rates, costs = measured(cases(job, moco_v2(16), "folder,memory", times), rounds=1)
    assert rates.keys() == costs.keys() == {"floor: decode only", "folder", "memory", "folder, decoded only"}
    assert min(*rates.values(), *costs.values()) > 0
    assert times["folder"]["decode"] > 0 == times["memory"]["decode"]
    assert times["memory"]["render"] > 0 == times["folder, decoded only"]["render"]


def test_the_verdict_names_the_slowest_stage_and_its_remedy():
    times = Times({"read": 1.0, "decode": 6.0, "cut": 3.0, "draw": 1.0, "wait": 9.0})
    text = verdict(times, threads=4, ratio=0.5)
    assert text.startswith("decode limits (read 10%, decode 60%, cut 30% of the threads' time on 4 threads;")
    assert "drawing takes 10.0% of the consumer's time); 0.50 of decoding alone. To go faster: more cores" in text
