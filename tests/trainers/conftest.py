"""Recorded numbers, a checkpoint's weights, several ranks, and finished runs that tests read, resume and evaluate."""

import multiprocessing
import sys
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing

from viewstream.tools.make_static import Static, make
from viewstream.trainers.nets.encoder import backbone
from viewstream.trainers.recipes.options import BYOL, MoCo, Supervised
from viewstream.trainers.training.run import Run, pretrain

from .checkpoints.layouts import ARCH
from .small_runs import COMMON, EVERY, SMALL, WORDS
from .spawn import call_on_rank

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def golden(request):
    """(name) -> a recording: numbers as tensors, strings as lists. Large recordings are in the folder of real input."""

    def read(name):
        path = ROOT / "tests" / "golden" / f"{name}.npz"
        if not path.exists():
            path = request.getfixturevalue("shared") / "golden" / path.name
        with np.load(path) as file:
            return {k: v.tolist() if v.dtype.kind == "U" else torch.from_numpy(v) for k, v in file.items()}

    return read


@pytest.fixture(scope="session")
def on_ranks(tmp_path_factory):
    """(function, count, *arguments) -> what function(*arguments) returns on each of `count` ranks, on the CPU. One
    server imports torch for all of them."""
    multiprocessing.set_forkserver_preload(["viewstream.trainers.training.run", "torch.distributed", "timm"])
    forkserver.ensure_running()

    def call(function, count, *arguments):
        folder = tmp_path_factory.mktemp("ranks")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "path", [*sys.path, str(ROOT)])  # the processes import the function by its module's name
            words = (count, folder, function, arguments)
            torch.multiprocessing.start_processes(call_on_rank, words, nprocs=count, start_method="forkserver")
        return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(count)]

    return call


@pytest.fixture
def body():
    """The random weights of a network, running statistics included: named tensors."""
    net, _ = backbone(ARCH)
    return {k: torch.rand_like(v) if v.is_floating_point() else v for k, v in net.state_dict().items()}


@pytest.fixture(scope="session")
def first(built, tmp_path_factory):
    """The folder of a short run: 6 steps per epoch, 2 epochs."""
    out = tmp_path_factory.mktemp("runs") / "first"
    return pretrain(SMALL, Run(data=str(built.root), loader="webdataset", out=str(out), device="cpu", log_every=1))


@pytest.fixture
def run(built, built_val, tmp_path):
    """(name, recipe, options) -> the folder of a finished run."""

    def call(name, recipe, **options):
        sets = {"data": str(built.root), "val": str(built_val.root), "loader": "folder"}
        return pretrain(recipe, Run(out=str(tmp_path / name), **sets | {"device": "cpu", "log_every": 1} | options))

    return call


@pytest.fixture(scope="session")
def moco(built, tmp_path_factory):
    """The folder of a MoCo run whose weights other runs start from."""
    out = tmp_path_factory.mktemp("moco") / "run"
    recipe = MoCo(**COMMON, queue=64, dim=16, bn_groups=2)
    return pretrain(recipe, Run(data=str(built.root), loader="folder", device="cpu", out=str(out)))


@pytest.fixture(scope="session")
def words(built, tmp_path_factory):
    """(method, more words) -> the command line that trains it."""
    out = tmp_path_factory.mktemp("teacher")
    recipe = MoCo(arch="test_resnet", size=32, epochs=1, batch_size=16, queue=64, dim=16, bn_groups=2)
    teacher = pretrain(recipe, Run(data=str(built.root), loader="folder", out=str(out / "run"), device="cpu"))

    def command(name, *more):
        extra = ("--teacher", teacher / "last.pt") if name == "seed" else ()
        return ["trainers/train.py", "--method", name, "--data", built.root, *EVERY, *WORDS[name], *extra, *more]

    return command


@pytest.fixture(scope="session")
def runs(built, tmp_path_factory):
    """The folder of three runs: moco (one network for evaluations), byol (a teacher), supervised (a classifier)."""
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
    """A static set of 96 originals with two views each."""
    return make(Static(data=built.root, size=32, workers=1, out=tmp_path_factory.mktemp("static") / "set"))


@pytest.fixture
def sets(built, built_val):
    """The options that name the two built sets."""
    return {"data": str(built.root), "val": str(built_val.root)}
