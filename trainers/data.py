"""From the command line's words to manifests and loaders."""

from pathlib import Path

import torch

from ..augment.recipes import evaluation
from ..pipeline.choose import open_door
from ..pipeline.order import Plan
from ..pipeline.stream import Stream
from ..shards.manifest import Manifest, newest
from .ranks import rank, world

SHARDS = Path("data/shards")


def open_data(data: str, split: str = "train") -> Manifest:
    """The data set named, or the newest complete one under data/shards, which is said."""
    if data:
        return Manifest.open(data)
    path = newest(SHARDS, split)
    if not rank():
        print(f"data: {path}, the newest {split} set (--{'data' if split == 'train' else 'val'} names another)")
    return Manifest.open(path)


def evaluating(manifest: Manifest, size: int, batch: int, loader: str, threads: int, device: torch.device) -> Stream:
    """Each image once, its centre at `size` px."""
    plan = Plan(len(manifest), batch, world(), rank(), tail="exact")
    return Stream(manifest, plan, evaluation(size), open_door(loader, manifest), device=device, threads=threads)
