"""Data options of the command line reach the loader."""

import shutil
from contextlib import closing

import pytest
import torch

from viewstream.augment import moco_v2
from viewstream.augment.renderers import device, host, kornia
from viewstream.pipeline import Plan
from viewstream.shards.cli import parse
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest
from viewstream.trainers import loaders
from viewstream.trainers.data import Loading
from viewstream.trainers.loaders import evaluating, loading
from viewstream.trainers.recipes.options import MoCo
from viewstream.trainers.tasks.options import Knn
from viewstream.trainers.tasks.run import evaluate
from viewstream.trainers.training.run import Run, pretrain


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


def test_training_and_evaluations_compare_digests_on_request(built, moco, tmp_path):
    made = Manifest.open(shutil.copytree(built.root, tmp_path / "set"))
    jpeg = made.path(7).read_bytes()
    made.path(7).write_bytes(b"".join((jpeg[:12], b"\7", jpeg[13:])))  # a unit that decoders pass over
    options = {"data": str(made.root), "loader": "folder", "device": "cpu", "check": "digest"}
    recipe = MoCo(arch="test_resnet", size=32, epochs=1, batch_size=16, queue=16, dim=16, bn_groups=2)
    reason = "sample 7 .* is damaged .its bytes do not match the digest of the manifest"
    with pytest.raises(UserError, match=reason):
        pretrain(recipe, Run(**options, out=str(tmp_path / "run")))
    with pytest.raises(UserError, match=reason):
        evaluate(Knn(**options, val=str(built.root), checkpoint=str(moco / "last.pt")))
