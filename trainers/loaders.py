"""The manifests and loaders that data options name."""

from pathlib import Path

import numpy as np
import torch

from ..augment.recipes import views_of
from ..augment.renderers.compiler import Choice
from ..augment.spec import Views
from ..pipeline.batch import Loader, SampleReader
from ..pipeline.choose import open_loader
from ..pipeline.plan.order import Plan
from ..pipeline.readers.stage import Stage
from ..shards.errors import UserError
from ..shards.manifest import Manifest
from .data import GB, Loading, Sets
from .ranks import rank, world_size


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
        check=options.check,
        source=options.source,
        stage=Stage(Path(options.stage), int(options.cache_gb * GB), options.cache_mbps) if options.stage else None,
    )


def evaluating(
    manifest: Manifest, size: int, batch: int, options: Loading, device: torch.device, views: str = "evaluation"
) -> Loader:
    """The loader of each image once, with the augmentation recipe `views` at `size` px. Nothing is compiled for it:
    the few ops of such a view leave little to join."""
    plan = Plan(len(manifest), batch, world_size(), rank(), tail="exact")
    return loading(manifest, plan, views_of(views, size), options, device, compile="off")
