"""Data options of the command line reach the loader."""

from contextlib import closing

import pytest
import torch

from viewstream.augment import moco_v2
from viewstream.augment.renderers import device, host, kornia
from viewstream.pipeline import Plan
from viewstream.shards.cli import parse
from viewstream.shards.errors import UserError
from viewstream.trainers import loaders
from viewstream.trainers.data import Loading
from viewstream.trainers.loaders import evaluating, loading


@pytest.mark.parametrize(
    ("flags", "renderer"),
    [([], host.threaded(2)), (["--renderer", "kornia"], kornia.render), (["--renderer", "device"], device.render)],
)
def test_the_flag_chooses_what_renders(built, flags, renderer):
    (options,) = parse(Loading(), description="", argv=["--loader", "folder", "--workers", "2", *flags])
    with closing(loading(built, Plan(len(built), 12), moco_v2(32), options, torch.device("cpu"))) as loader:
        assert loader.render is renderer


def test_nothing_is_compiled_for_an_evaluation_whatever_the_device(built, monkeypatch):
    asked = []
    monkeypatch.setattr(loaders, "open_loader", lambda *_, compile, **more: asked.append(compile))
    evaluating(built, 32, 12, Loading(), torch.device("cuda"))
    assert asked == ["off"]


def test_crops_of_a_gpu_are_refused_without_one(built):
    (options,) = parse(Loading(), description="", argv=["--loader", "folder", "--crops", "device"])
    with pytest.raises(UserError, match=r"--crops device leaves the crops to a GPU, .*made on the CPU: leave it out"):
        loading(built, Plan(len(built), 12), moco_v2(32), options, torch.device("cpu"))
