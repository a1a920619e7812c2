"""What readers of a zoo's files give, as one digest each, so that damage that changes nothing can be known from damage
that changes something without a word."""

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from viewstream.augment.recipes import moco_v2
from viewstream.pipeline.choose import READERS, open_loader, open_reader, open_set
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.static.read import StaticSet
from viewstream.shards.building.build import build
from viewstream.shards.formats.static import RECORD
from viewstream.shards.manifest import Manifest
from viewstream.tools import verify_shards
from viewstream.trainers.care import CHECKPOINTS
from viewstream.trainers.checkpoints.files import load_file
from viewstream.trainers.checkpoints.manager import CheckpointManager
from viewstream.trainers.checkpoints.pretrained import load_pretrained
from viewstream.trainers.methods.build import build as build_method
from viewstream.trainers.recipes.options import SEED, Supervised
from viewstream.trainers.tasks.model import EvaluatedModel
from viewstream.trainers.tasks.options import Knn
from viewstream.trainers.tasks.run import evaluate
from viewstream.trainers.training import setup
from viewstream.trainers.training.run import pretrain

from ..compat.arch import ARCH
from .zoo import RECIPE, knn, options, run_options

CPU = torch.device("cpu")
Reading = Callable[[Path], str]  # of a zoo


def digest(parts: Iterable[Any]) -> str:
    """sha256 of arrays, tensors, bytes, and of what else has a `repr`."""
    found = hashlib.sha256()
    for part in parts:
        part = part.numpy() if isinstance(part, Tensor) else part
        data = part.tobytes() if isinstance(part, np.ndarray) else part
        found.update(data if isinstance(data, bytes) else repr(data).encode())
    return found.hexdigest()


def tensors(value: Any) -> Iterable[Any]:
    """The tensors and numbers in nested dicts and lists, with their names."""
    if isinstance(value, dict):
        for name in sorted(value, key=str):
            yield str(name)
            yield from tensors(value[name])
    elif isinstance(value, list | tuple):
        for one in value:
            yield from tensors(one)
    else:
        yield value


def content(root: Path) -> str:
    """All that a set holds, through every reader."""
    m = Manifest.open(root)
    parts = [m.info, m.keys, m.strings("source", np.arange(len(m))), m.label, m.hw, m.uid, m.sha256]
    for form in READERS.keys() & {*m.info.formats}:
        with closing(open_reader(form, m)) as reader:
            parts += [np.asarray(read) for row in range(len(m)) for read in [reader.read(row)] if len(read)]
    if m.info.static:
        parts += [static_views(root), (root / RECORD).read_bytes()]
    return digest(np.frombuffer(p, np.uint8) if isinstance(p, bytes) else p for p in parts)


@cache
def read_content(name: str) -> Reading:
    """All that a set holds."""
    return lambda zoo: content(zoo / name)


def verified(name: str) -> Reading:
    """`verify_shards.py`, and what a set holds that it passes."""
    return checked(name, read_content(name))


@cache
def loaded(name: str, loader: str, **options: Any) -> Reading:
    """An epoch of views."""
    return lambda zoo: epoch(open_set(str(zoo / name)), loader, **options)


def epoch(data: Manifest, loader: str, **options: Any) -> str:
    """The views, labels and rows of an epoch, and the names of the classes."""
    with closing(open_loader(loader, data, Plan(len(data), 6, seed=1), moco_v2(24), threads=1, **options)) as batches:
        parts = [part for batch in batches.epoch(0) for part in (*batch.views, batch.target, batch.index)]
    return digest([*parts, data.info.classes])


@cache
def frozen(name: str, **options: Any) -> Reading:
    """The views of a static set."""
    return lambda zoo: static_views(zoo / name, **options)


def static_views(root: Path, **options: Any) -> str:
    """The views and labels of a static set, and the names of the classes."""
    with closing(StaticSet(root, batch=3, **options)) as batches:
        parts = [part for batch in batches.epoch() for part in (*batch.views, batch.target)]
    return digest([*parts, batches.classes])


def resumed_build(zoo: Path) -> str:
    """The files of the set that an unfinished build becomes, and what verify says of them."""
    build(options(zoo, "unfinished"))
    called(verify_shards.main, zoo / "unfinished", "--workers", 1)
    files = sorted(path for path in (zoo / "unfinished").rglob("*") if path.is_file())
    return digest(part for path in files for part in (str(path.relative_to(zoo)), path.read_bytes()))


@cache
def resumed(name: str) -> Reading:
    """The state that a resumed run begins with."""

    def read(zoo: Path) -> str:
        run = run_options(zoo)
        data, val = run.training(), run.test()
        state = setup.training_state(RECIPE, run, data, CPU, fresh=False)
        metadata = setup.metadata_of(RECIPE, run, data, val, None)
        with CheckpointManager(zoo / "run", state, metadata, per_epoch=3) as checkpoints:
            step = checkpoints.resume(zoo / "run" / name)
            kept = [step, checkpoints.best, checkpoints.threads]
        return digest([*kept, *tensors(state.method.state_dict()), *tensors(state.optimizer.state_dict())])

    return read


@cache
def evaluated(name: str) -> Reading:
    """The network that an evaluation takes from a file."""

    def read(zoo: Path) -> str:
        model = EvaluatedModel(Knn(checkpoint=str(zoo / name), arch=ARCH, size=32), CPU)
        return digest([model.size, model.stem, *tensors(model.net.state_dict())])

    return read


@cache
def taught(name: str) -> Reading:
    """The teacher that SEED takes from a file."""

    def read(zoo: Path) -> str:
        recipe = SEED(arch=ARCH, size=32, queue=12, dim=8, teacher_arch=ARCH)
        return _begun(recipe, teacher=str(zoo / name))

    return read


@cache
def begun(name: str) -> Reading:
    """A classifier that begins with the weights of a file."""
    return lambda zoo: _begun(Supervised(arch=ARCH, size=32), pretrained=str(zoo / name))


def _begun(recipe: Any, pretrained: str = "", teacher: str = "") -> str:
    method = build_method(recipe, 3)
    load_pretrained(method, recipe, pretrained, teacher, "auto")
    return digest(tensors(method.state_dict()))


def features(zoo: Path) -> str:
    """The numbers of an evaluation that takes the features that an earlier one kept."""
    return digest(evaluate(knn(zoo)).items())


def results(zoo: Path) -> str:
    """What results.json holds once an evaluation has added its own."""
    evaluate(dataclasses.replace(knn(zoo), k=2))
    return digest([(zoo / "run/results.json").read_bytes()])


def continued(zoo: Path) -> str:
    """What the finished run holds after it was started again."""
    pretrain(RECIPE, run_options(zoo))
    return digest((zoo / "run" / name).read_bytes() for name in ("config.json", "log.jsonl"))


@cache
def remote(url: str, **options: Any) -> Reading:
    """An epoch of a set at a URL, through its cache."""
    return lambda zoo: epoch(open_set(f"{url}/set", cache=zoo / "cache"), "webdataset", **options)


@cache
def checked(name: str, then: Reading) -> Reading:
    """`verify_shards.py` of a folder or file, and what `then` reads of what it passes."""

    def read(zoo: Path) -> str:
        called(verify_shards.main, zoo / name, "--workers", 1)
        return then(zoo)

    return read


@cache
def files_of(pattern: str) -> Reading:
    """The content of checkpoints, features and pages."""

    def one(path: Path) -> Iterable[Any]:
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                return [*tensors(dict(arrays))]
        return tensors(load_file(path)) if path.suffix in CHECKPOINTS else [path.read_bytes()]

    return lambda zoo: digest(part for path in sorted(zoo.glob(pattern)) for part in one(path))


def called(main: Callable[[], None], *words: object) -> None:
    """Run the `main` of a program with these words."""
    before, sys.argv = sys.argv, [main.__module__, *map(str, words)]
    try:
        main()
    finally:
        sys.argv = before
