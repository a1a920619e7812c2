"""Loaders and a training that run for many epochs: each takes (set, folder for itself, address of the set, epochs) and
calls `seen` after every epoch."""

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from viewstream.augment.recipes import moco_v2
from viewstream.pipeline.adapters.dataset import as_dataset
from viewstream.pipeline.choose import open_loader, open_reader, open_set
from viewstream.pipeline.plan.order import Plan
from viewstream.pipeline.plan.orders import WindowShuffle
from viewstream.pipeline.static.read import StaticSet
from viewstream.shards.building.build import BuildOptions, build
from viewstream.shards.manifest import Manifest
from viewstream.tools.bench.measuring.machine import ROOT
from viewstream.tools.make_static import Static, make
from viewstream.tools.textures import CLASSES, texture
from viewstream.trainers.recipes.options import MoCo
from viewstream.trainers.training.options import Run
from viewstream.trainers.training.run import pretrain

VIEWS = moco_v2(64)
BATCH = 50
SIDE = 96  # px, of the images
Seen = Callable[[], None]


class Soak(NamedTuple):
    """What an endurance run has at hand."""

    data: Manifest
    folder: Path  # empty
    url: str  # of the set
    epochs: int
    seen: Seen

    @property
    def plan(self) -> Plan:
        return Plan(len(self.data), min(BATCH, len(self.data)), seed=1)

    @property
    def blocks(self) -> Plan:
        return Plan(len(self.data), self.plan.batch, seed=1, order=WindowShuffle(self.data.shard, 2))


def through(name: str, soak: Soak, **options: Any) -> None:
    """Epochs of `open_loader`; a stream takes few tars at a time."""
    plan = soak.blocks if name == "webdataset-stream" else soak.plan
    with closing(open_loader(name, soak.data, plan, VIEWS, threads=2, **options)) as loader:
        for epoch in range(soak.epochs):
            drain(loader.epoch(epoch))
            soak.seen()


def remote(soak: Soak) -> None:
    """A set at a URL, through a cache that holds half of it, so that tars come and go."""
    sizes = [tar.stat().st_size for tar in soak.data.tars()]
    limit = max(sum(sizes) // 2, 4 * max(sizes))
    far = open_set(soak.url, cache=soak.folder / "cache", limit=limit)
    plan = Plan(len(far), min(BATCH, len(far)), seed=1, order=WindowShuffle(far.shard, 2))
    with closing(open_loader("webdataset", far, plan, VIEWS, threads=2)) as loader:
        for epoch in range(soak.epochs):
            drain(loader.epoch(epoch))
            soak.seen()


def dataloader(soak: Soak) -> None:
    """`as_dataset` with two new workers in each epoch."""
    from torch.utils.data import DataLoader

    dataset, batches = as_dataset(soak.data, VIEWS, batch=soak.plan.batch)
    with closing(dataset):
        for _ in range(soak.epochs):
            drain(iter(DataLoader(dataset, batch_sampler=batches, num_workers=2)))
            soak.seen()


def ffcv_loader(soak: Soak) -> None:
    """ffcv's Loader with our stages."""
    from ffcv.loader import Loader  # pyright: ignore[reportMissingImports]

    from viewstream.pipeline.adapters.ffcv_ops import pipelines

    stages = pipelines(soak.data, VIEWS, soak.plan, floats=True)
    path, batch = str(soak.data.beton_path()), soak.plan.batch
    loader = Loader(path, batch_size=batch, num_workers=2, order=stages.order, pipelines=stages.pipelines)
    for _ in range(soak.epochs):
        drain(iter(loader))
        soak.seen()


def static(soak: Soak) -> None:
    """Epochs of a static set."""
    root = make(Static(data=soak.data.root, out=soak.folder / "static", size=64, workers=1))
    with closing(StaticSet(root, batch=BATCH)) as loader:
        for epoch in range(soak.epochs):
            drain(loader.epoch(epoch))
            soak.seen()


def training(soak: Soak) -> None:
    """MoCo on a tiny network, with a checkpoint and a validation in each epoch."""

    class Seen:
        """A reader that is asked to prefetch once per epoch."""

        def __init__(self) -> None:
            self.reader, self.begun = open_reader("webdataset", soak.data), False

        def prefetch(self, ids: Iterator[np.ndarray]) -> None:
            if self.begun:
                soak.seen()
            self.begun = True
            self.reader.prefetch(ids)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.reader, name)

    sizes = {"size": 32, "epochs": soak.epochs + 1, "batch_size": 16}
    recipe = MoCo(arch="test_resnet", lr=0.003, queue=64, dim=16, bn_groups=2, **sizes)
    sets = {"data": str(soak.data.root), "val": str(soak.data.root), "loader": "webdataset", "device": "cpu"}
    run = Run(out=str(soak.folder / "run"), eval_every=1, knn_k=5, log_every=1, **sets)
    pretrain(recipe, run, reader=Seen())


SOAKED: dict[str, Callable[[Soak], None]] = {
    **{
        name: partial(through, name) for name in ("webdataset", "webdataset-stream", "ffcv", "folder", "memory", "dali")
    },
    "planes": partial(through, "ffcv", decode="planes"),
    "device crops": partial(through, "webdataset", crops="device"),
    "remote": remote,
    "DataLoader": dataloader,
    "ffcv Loader": ffcv_loader,
    "static set": static,
    "training": training,
}
NEEDS = {"dali": "nvidia.dali", "ffcv Loader": "ffcv"}  # packages that may be absent


def drain(batches: Iterator[Any]) -> None:
    for _ in batches:
        pass


def small_set(folder: Path, count: int) -> Manifest:
    """A set of `count` images of about SIDE px in all formats, in several tars."""
    root = folder / "images" / "train"
    for number, (label, image) in zip(range(count), pictures(), strict=False):
        image.thumbnail((SIDE, SIDE))
        (root / label).mkdir(parents=True, exist_ok=True)
        image.convert("RGB").save(root / label / f"{number:04d}.jpg", quality=90)
    kinds: Any = ("webdataset", "ffcv", "folder")
    return build(BuildOptions(source=root.parent, out=folder / "set", format=kinds, shard_size="200KB", workers=1))


def pictures() -> Iterator[tuple[str, Image.Image]]:
    """Photographs of the folder of real input, four classes of them; textures where it is absent."""
    shared = Path(os.environ.get("VIEWSTREAM_SHARED") or ROOT.parent / "shared") / "data/imagenet-sample.tar"
    if shared.exists():
        with tarfile.open(shared) as tar:
            files = [member for member in tar if member.isfile()]
            for number, member in enumerate(files):
                file = tar.extractfile(member)
                assert file
                yield f"class{number % 4}", Image.open(io.BytesIO(file.read()))
    rng = np.random.default_rng(0)
    while True:
        for name in CLASSES[:4]:
            yield name, Image.fromarray(texture(name, rng))
