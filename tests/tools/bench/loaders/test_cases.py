"""The loaders of this project are measured, and their slowest stage is named."""

from ctypes.util import find_library

import pytest

from viewstream.augment.recipes import moco_v2
from viewstream.augment.spec import RandomResizedCrop
from viewstream.pipeline.timing import Times
from viewstream.tools.bench.loader import measured
from viewstream.tools.bench.loaders.cases import cases
from viewstream.tools.bench.loaders.job import Job
from viewstream.tools.bench.loaders.report import verdict


def test_whole_views_from_files_and_from_memory_are_measured_by_the_time_of_the_processor_too(built):
    job, times = Job(built, [RandomResizedCrop(16)] * 2, batch=16, batches=2, threads=1, rendered=True), {}
    rates, costs = measured(cases(job, moco_v2(16), "folder,memory", times), rounds=1)
    assert rates.keys() == costs.keys() == {"floor: decode only", "folder", "memory", "folder, decoded only"}
    assert min(*rates.values(), *costs.values()) > 0
    assert times["folder"]["decode"] > 0 == times["memory"]["decode"]
    assert times["memory"]["render"] > 0 == times["folder, decoded only"]["render"]


@pytest.mark.skipif(not find_library("turbojpeg"), reason="no libturbojpeg")
def test_planes_are_measured_beside_the_loaders_that_read_the_set(built):
    job, times = Job(built, [RandomResizedCrop(16)] * 2, batch=16, batches=2, threads=1), {}
    found = cases(job, moco_v2(16), "all", times)
    assert found["webdataset, planes"](0) == 32
    assert times["webdataset, planes"]["decode"] > 0 == times["webdataset"]["decode"]


def test_without_libturbojpeg_planes_are_left_out(built, monkeypatch):
    monkeypatch.setattr("viewstream.tools.bench.loaders.cases.has_turbojpeg", lambda: False)
    job = Job(built, [RandomResizedCrop(16)] * 2, batch=16, batches=2, threads=1)
    assert "webdataset, planes" not in cases(job, moco_v2(16), "all", {})


def test_the_verdict_names_the_slowest_stage_and_its_remedy():
    times = Times({"read": 1.0, "decode": 6.0, "cut": 3.0, "draw": 1.0, "wait": 9.0})
    text = verdict(times, threads=4, ratio=0.5)
    assert text.startswith("decode limits (read 10%, decode 60%, cut 30% of the threads' time on 4 threads;")
    assert "drawing takes 10.0% of the consumer's time); 0.50 of decoding alone. To go faster: more cores" in text
