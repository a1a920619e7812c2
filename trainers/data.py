"""Data options of the command line, and the manifests and loaders that they name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch

from ..augment.recipes import views_of
from ..augment.renderers.compiler import Choice
from ..augment.spec import Views
from ..pipeline.batch import Loader, SampleReader
from ..pipeline.choose import open_loader, open_set
from ..pipeline.plan.order import Plan
from ..shards.errors import UserError
from ..shards.info import newest
from ..shards.manifest import Manifest
from ..shards.subsets.classsets import only
from .ranks import rank, world_size

SHARDS = Path("data/shards")
GB = 10**9
Network = Annotated[
    Literal["auto", "online", "target"], "network to take from a checkpoint with two; auto: the choice of its method"
]
Ema = Annotated[bool, "take the averaged weights that a checkpoint holds beside the others, as state_dict_ema"]
OnError = Annotated[Literal["stop", "skip"], "stop: a damaged image ends the run; skip: another image takes its place"]


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How images are loaded; order and draws do not depend on it"""

    loader: Annotated[str, "folder, webdataset, webdataset-stream, ffcv, dali, or memory for a small set"] = "ffcv"
    workers: Annotated[int | Literal["auto"], "loader threads per process; auto: measured in the first seconds", 1] = (
        "auto"
    )
    crops: Annotated[
        Literal["auto", "host", "device"],
        "where crops are made; auto: on a GPU whose process has few cores, else on the host",
    ] = "auto"
    decode: Annotated[
        Literal["cpu", "gpu", "planes"],
        "who decodes JPEGs; gpu: nvJPEG, which leaves the crops to the GPU too; planes: libturbojpeg, which leaves "
        "colors to the crops of the host: faster, pixels change by 0.3 of 255 levels on average",
    ] = "cpu"
    hw_decoder_load: Annotated[
        float, "share of a batch, 0 to 1, that the JPEG engine of an A100 or H100 decodes for --loader dali", 0
    ] = 0.0
    renderer: Annotated[
        Literal["auto", "host", "device", "kornia"],
        "what renders after the crop, from the same draws; auto: host on a CPU, device on a GPU",
    ] = "auto"
    source: Annotated[str, "folder that a --keep set was built from, for --loader folder"] = ""
    cache: Annotated[Path, "folder for downloaded tars of a remote set"] = Path("data/cache")
    cache_gb: Annotated[float, "maximum size of that folder, GB", 0] = 100.0


def open_data(data: str, split: str, options: Loading, classes: str = "") -> Manifest:
    """The data set at `data`, or the newest complete one under data/shards, which is printed; only `classes` of it, if
    given."""
    if not data:
        data = str(newest(SHARDS, split))
        if not rank():
            print(f"data: {data}, the newest {split} set (--{'data' if split == 'train' else 'val'} names another)")
    whole = open_set(data, split, options.cache, int(options.cache_gb * GB))
    return only(whole, classes) if classes else whole


@dataclass(frozen=True, kw_only=True)
class Sets(Loading):
    """Data sets"""

    data: Annotated[str, "a built training set (the newest under data/shards)"] = ""
    val: Annotated[str, "a built validation set (the newest under data/shards)"] = ""
    class_subset: Annotated[
        str, "only these classes, renumbered: FILE of class names, or clsset1, clsset1_comp, clsset2, clsset2_comp"
    ] = ""

    def training(self) -> Manifest:
        """The training set."""
        return open_data(self.data, "train", self, self.class_subset)

    def test(self) -> Manifest:
        """The validation set."""
        return open_data(self.val, "val", self, self.class_subset)


def open_pair(options: Sets, purpose: str) -> tuple[Manifest, Manifest]:
    """Training and test set with labels of the same classes. UserError for a class without images in one of them."""
    sets = options.training(), options.test()
    for data in sets:
        data.require_labels(purpose)
    if sets[0].info.classes != sets[1].info.classes:
        raise UserError(f"{sets[0].root} and {sets[1].root} have different classes: {purpose} needs the same ones")
    for data, use, flag in zip(sets, ("training", "test"), ("--data", "--val"), strict=True):
        counts = np.array(data.counts)
        if len(absent := np.flatnonzero(counts == 0)):
            raise UserError(
                f"{len(absent)} of {len(counts)} classes have no {use} images in {data.root}, the first is "
                f"{data.info.classes[absent[0]]}: name a {flag} that has all of them, or build both sets with --classes"
            )
    return sets


def loading(
    manifest: Manifest,
    plan: Plan,
    views: Views,
    options: Loading,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    *,
    compile: Choice = "auto",
    skip: bool = False,
    reader: SampleReader | None = None,
) -> Loader:
    """The loader of a plan, through `reader` or the one that the options name; `skip`: replace damaged images.
    UserError for crops of a GPU without one."""
    if options.crops == "device" and device.type == "cpu":
        raise UserError("--crops device leaves the crops to a GPU, and the views are made on the CPU: leave it out")
    return open_loader(
        reader or options.loader,
        manifest,
        plan,
        views,
        device=device,
        dtype=dtype,
        threads=0 if options.workers == "auto" else options.workers,
        crops=options.crops,
        decode=options.decode,
        hw_decoder_load=options.hw_decoder_load,
        renderer=options.renderer,
        compile=compile,
        skip=skip,
        source=options.source,
    )


def evaluating(
    manifest: Manifest, size: int, batch: int, options: Loading, device: torch.device, views: str = "evaluation"
) -> Loader:
    """The loader of each image once, with the augmentation recipe `views` at `size` px. Nothing is compiled for it:
    the few ops of such a view leave little to join."""
    plan = Plan(len(manifest), batch, world_size(), rank(), tail="exact")
    return loading(manifest, plan, views_of(views, size), options, device, compile="off")
