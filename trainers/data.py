"""From the command line's words to manifests and loaders."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch

from ..augment.recipes import views_of
from ..augment.spec import Views
from ..pipeline.batch import Loader
from ..pipeline.choose import open_loader, open_set
from ..pipeline.order import Plan
from ..shards.manifest import Manifest, newest
from .ranks import rank, world

SHARDS = Path("data/shards")
GB = 10**9


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How pictures reach the network; no number depends on it"""

    loader: Annotated[str, "door to the data: folder, webdataset, webdataset-stream, ffcv or dali"] = "ffcv"
    workers: Annotated[int | Literal["auto"], "loader threads a process; auto: measured in the first seconds", 1] = (
        "auto"
    )
    crops: Annotated[Literal["auto", "host", "device"], "who cuts; auto: a GPU whose process has few cores"] = "auto"
    on_error: Annotated[Literal["stop", "skip"], "a damaged picture ends the run, or another takes its place"] = "stop"
    source: Annotated[str, "folder that a --keep set was built from, for --loader folder"] = ""
    cache: Annotated[Path, "folder that the tars of a remote set are fetched into"] = Path("data/cache")
    cache_gb: Annotated[float, "how much of them is kept there, GB", 0] = 100.0


def open_data(data: str, split: str = "train", how: Loading | None = None) -> Manifest:
    """The data set named, or the newest complete one under data/shards, which is said."""
    how = how or Loading()
    if data:
        return open_set(data, split, how.cache, int(how.cache_gb * GB))
    path = newest(SHARDS, split)
    if not rank():
        print(f"data: {path}, the newest {split} set (--{'data' if split == 'train' else 'val'} names another)")
    return Manifest.open(path)


def loading(
    manifest: Manifest,
    plan: Plan,
    views: Views,
    how: Loading,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Loader:
    """The loader of a plan."""
    return open_loader(
        how.loader,
        manifest,
        plan,
        views,
        device=device,
        dtype=dtype,
        threads=0 if how.workers == "auto" else how.workers,
        crops=how.crops,
        skip=how.on_error == "skip",
        source=how.source,
    )


def evaluating(
    manifest: Manifest, size: int, batch: int, how: Loading, device: torch.device, views: str = "evaluation"
) -> Loader:
    """Each image once, as recipe `views` shows it at `size` px."""
    plan = Plan(len(manifest), batch, world(), rank(), tail="exact")
    return loading(manifest, plan, views_of(views, size), how, device)
