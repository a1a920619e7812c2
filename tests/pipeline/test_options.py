"""The options of a loader decide who crops."""

import pytest

from viewstream.pipeline.options import FEW_CORES, LoaderOptions


@pytest.mark.parametrize(
    ("crops", "device", "cores", "on_device"),
    [
        ("host", "cuda", 1, False),
        ("device", "cpu", 99, True),
        ("auto", "cpu", 1, False),
        ("auto", "cuda:1", FEW_CORES - 1, True),
        ("auto", "cuda", FEW_CORES, False),
    ],
)
def test_auto_leaves_the_crops_to_a_gpu_whose_process_has_few_cores(monkeypatch, crops, device, cores, on_device):
    monkeypatch.setattr("viewstream.pipeline.options.share_of_cores", lambda: cores)
    assert LoaderOptions(crops=crops, device=device).crop_on_device is on_device
