"""From the command line's words to manifests and loaders."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch

from ..augment.recipes import views_of
from ..augment.spec import Views
from ..pipeline.batch import Loader
from ..pipeline.choose import open_loader, open_set
from ..pipeline.plan.order import Plan
from ..shards.errors import UserError
from ..shards.info import newest
from ..shards.manifest import Manifest
from ..shards.subsets.classsets import only
from .ranks import rank, world_size

SHARDS = Path("data/shards")
GB = 10**9
Network = Annotated[Literal["auto", "online", "target"], "of a checkpoint with two; auto: the method's choice"]
OnError = Annotated[Literal["stop", "skip"], "a damaged image ends the run, or another takes its place"]


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How images reach the network; no number depends on it"""

    loader: Annotated[str, "reader to the data: folder, webdataset, webdataset-stream, ffcv or dali"] = "ffcv"
    workers: Annotated[int | Literal["auto"], "loader threads a process; auto: measured in the first seconds", 1] = (
        "auto"
    )
    crops: Annotated[Literal["auto", "host", "device"], "who cuts; auto: a GPU whose process has few cores"] = "auto"
    source: Annotated[str, "folder that a --keep set was built from, for --loader folder"] = ""
    cache: Annotated[Path, "folder that the tars of a remote set are fetched into"] = Path("data/cache")
    cache_gb: Annotated[float, "how much of them is kept there, GB", 0] = 100.0


def open_data(data: str, split: str, how: Loading, classes: str = "") -> Manifest:
    """The data set named, or the newest complete one under data/shards, which is said; of a class set, if one is
    named."""
    if not data:
        data = str(newest(SHARDS, split))
        if not rank():
            print(f"data: {data}, the newest {split} set (--{'data' if split == 'train' else 'val'} names another)")
    whole = open_set(data, split, how.cache, int(how.cache_gb * GB))
    return only(whole, classes) if classes else whole


@dataclass(frozen=True, kw_only=True)
class Sets(Loading):
    """Which images"""

    data: Annotated[str, "a built training set (the newest under data/shards)"] = ""
    val: Annotated[str, "a built validation set (the newest under data/shards)"] = ""
    class_subset: Annotated[
        str, "FILE of class names, or clsset1, clsset1_comp, clsset2, clsset2_comp: these classes alone, numbered anew"
    ] = ""

    def training(self) -> Manifest:
        """The training set."""
        return open_data(self.data, "train", self, self.class_subset)

    def test(self) -> Manifest:
        """The validation set."""
        return open_data(self.val, "val", self, self.class_subset)


def open_pair(how: Sets, purpose: str) -> tuple[Manifest, Manifest]:
    """Training and test set, labeled, of the same classes; UserError names a class that has no images in one."""
    sets = how.training(), how.test()
    for data in sets:
        data.require_labels(purpose)
    if sets[0].info.classes != sets[1].info.classes:
        raise UserError(f"{sets[0].root} and {sets[1].root} have different classes: {purpose} needs the same ones")
    for data, use, flag in zip(sets, ("training", "test"), ("--data", "--val"), strict=True):
        counts = np.bincount(data.label, minlength=len(data.info.classes))
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
    how: Loading,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    *,
    skip: bool = False,
) -> Loader:
    """The loader of a plan; `skip`: a damaged image is replaced (`ViewLoader`)."""
    return open_loader(
        how.loader,
        manifest,
        plan,
        views,
        device=device,
        dtype=dtype,
        threads=0 if how.workers == "auto" else how.workers,
        crops=how.crops,
        skip=skip,
        source=how.source,
    )


def evaluating(
    manifest: Manifest, size: int, batch: int, how: Loading, device: torch.device, views: str = "evaluation"
) -> Loader:
    """Each image once, as recipe `views` shows it at `size` px."""
    plan = Plan(len(manifest), batch, world_size(), rank(), tail="exact")
    return loading(manifest, plan, views_of(views, size), how, device)
