"""Recorded numbers, a checkpoint's weights, and finished runs that tests look at, resume and evaluate."""

from pathlib import Path

import numpy as np
import pytest
import torch

from viewstream.tools.make_static import Static, make
from viewstream.trainers.nets.encoder import backbone
from viewstream.trainers.recipes.options import BYOL, MoCo, Supervised
from viewstream.trainers.training.run import Run, pretrain

from .checkpoints.layouts import ARCH
from .small_runs import COMMON, EVERY, SMALL, WORDS


@pytest.fixture(scope="session")
def golden(request):
    """(name) -> a recording: numbers as tensors, words as they are. The large ones lie with the real input."""

    def read(name):
        path = Path(__file__).parents[1] / "golden" / f"{name}.npz"
        if not path.exists():
            path = request.getfixturevalue("shared") / "golden" / path.name
        with np.load(path) as file:
            return {k: v.tolist() if v.dtype.kind == "U" else torch.from_numpy(v) for k, v in file.items()}

    return read


@pytest.fixture
def body():
    """A network with weights of its own, running statistics included: named tensors."""
    net, _ = backbone(ARCH)
    return {k: torch.rand_like(v) if v.is_floating_point() else v for k, v in net.state_dict().items()}


@pytest.fixture(scope="session")
def first(built, tmp_path_factory):
    """A short run, undisturbed: 6 steps an epoch, 2 epochs."""
    out = tmp_path_factory.mktemp("runs") / "first"
    return pretrain(SMALL, Run(data=str(built.root), loader="webdataset", out=str(out), device="cpu", log_every=1))


@pytest.fixture
def run(built, built_val, tmp_path):
    """(name, recipe, options) -> the folder of a finished run."""

    def call(name, recipe, **options):
        how = {"data": str(built.root), "val": str(built_val.root), "loader": "folder", "device": "cpu", "log_every": 1}
        return pretrain(recipe, Run(out=str(tmp_path / name), **how | options))

    return call


@pytest.fixture(scope="session")
def moco(built, tmp_path_factory):
    """A MoCo run that others begin with."""
    out = tmp_path_factory.mktemp("moco") / "run"
    recipe = MoCo(**COMMON, queue=64, dim=16, bn_groups=2)
    return pretrain(recipe, Run(data=str(built.root), loader="folder", device="cpu", out=str(out)))


@pytest.fixture(scope="session")
def words(built, tmp_path_factory):
    """(method) -> what to type to train it."""
    out = tmp_path_factory.mktemp("teacher")
    recipe = MoCo(arch="test_resnet", size=32, epochs=1, batch_size=16, queue=64, dim=16, bn_groups=2)
    teacher = pretrain(recipe, Run(data=str(built.root), loader="folder", out=str(out / "run"), device="cpu"))

    def of(name, *more):
        known = ("--teacher", teacher / "last.pt") if name == "seed" else ()
        return ["trainers/train.py", "--method", name, "--data", built.root, *EVERY, *WORDS[name], *known, *more]

    return of


@pytest.fixture(scope="session")
def runs(built, tmp_path_factory):
    """A run of each kind of network: one, with a teacher, with a classifier."""
    out = tmp_path_factory.mktemp("runs")
    common = {"arch": "test_resnet", "size": 32, "epochs": 1, "batch_size": 16}
    recipes = {
        "moco": MoCo(**common, queue=16, dim=16, bn_groups=2),
        "byol": BYOL(**common, views="byol", dim=16, hidden=32, key_momentum=0.5),
        "supervised": Supervised(**common, views="supervised", bn_groups=2),
    }
    for name, recipe in recipes.items():
        pretrain(recipe, Run(data=str(built.root), loader="folder", out=str(out / name), device="cpu"))
    return out


@pytest.fixture(scope="session")
def static(built, tmp_path_factory):
    """96 originals with two views each."""
    return make(Static(data=built.root, size=32, workers=1, out=tmp_path_factory.mktemp("static") / "set"))


@pytest.fixture
def sets(built, built_val):
    return {"data": str(built.root), "val": str(built_val.root)}
