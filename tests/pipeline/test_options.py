"""The options of a loader decide who crops."""

import pytest
import torch

from viewstream.augment import moco_v2
from viewstream.pipeline import Plan, open_loader
from viewstream.pipeline.options import FEW_CORES, LoaderOptions
from viewstream.shards.errors import UserError


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


@pytest.mark.parametrize("name", ["folder", "dali"])
def test_a_gpu_that_is_not_there_is_named_when_the_loader_is_opened(built, monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="there is no device cuda:1, torch finds 1 GPUs: choose cpu"):
        open_loader(name, built, Plan(len(built), batch=32), moco_v2(32), device="cuda:1")
