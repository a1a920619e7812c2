"""Where and how a run happens, and the one place that builds everything a recipe needs."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch

from ..augment.spec import Views
from ..pipeline.choose import open_door
from ..pipeline.order import Plan
from ..pipeline.stream import Stream
from ..shards.errors import UserError
from ..shards.files import atomic
from ..shards.manifest import Manifest, newest
from . import checkpoint, optim
from .log import Log
from .loop import train
from .moco import MoCo
from .nets import encoder
from .ranks import group, rank, world
from .recipes import VIEWS, Recipe

SHARDS = Path("data/shards")


@dataclass(frozen=True, kw_only=True)
class Run:
    """Options that change where and how fast a run happens, never its numbers."""

    recipe: Annotated[str, "named recipe whose values the other options change; default: the method's newest"] = ""
    data: Annotated[str, "a built data set; default: the newest training set under data/shards"] = ""
    loader: Annotated[str, "door to the data: folder, webdataset or ffcv"] = field(default="ffcv")
    out: Annotated[str, "folder of the run; default: runs/<method>-<data set>"] = ""
    resume: Annotated[str, "`auto` goes on from <out>/last.pt if it is there, a path from that checkpoint"] = ""
    device: Annotated[str, "cuda or cpu; default: a GPU if there is one"] = ""
    workers: Annotated[int, "loader threads a process; 0: the cores that are there"] = 0
    save_every: Annotated[int, "steps between checkpoints, besides one an epoch"] = 0
    log_every: Annotated[int, "steps between log lines"] = 10


def open_data(data: str, split: str = "train") -> Manifest:
    """The data set named, or the newest complete one."""
    if data:
        return Manifest.open(data)
    path = newest(SHARDS, split)
    if not rank():
        print(f"data: {path} (the newest {split} set; --data chooses another)")
    return Manifest.open(path)


def stream(manifest: Manifest, plan: Plan, views: Views, run: Run, device: torch.device) -> Stream:
    """The loader that the options ask for."""
    return Stream(
        manifest, plan, views, open_door(run.loader, manifest), device=device, threads=run.workers or None
    )  # fmt: skip


def method_of(recipe: Recipe) -> MoCo:
    """The method with freshly drawn weights."""
    net = encoder(recipe.arch, recipe.head, recipe.dim, recipe.seed)
    moco = MoCo(
        net,
        dim=recipe.dim,
        queue=recipe.queue,
        momentum=recipe.key_momentum,
        temperature=recipe.temperature,
        bn_groups=recipe.bn_groups,
    )
    moco.queue.check(recipe.batch_size)
    return moco


def schedule(recipe: Recipe) -> Callable[[int], float]:
    """The learning rate as a function of the epoch."""
    if recipe.schedule == "cos":
        return lambda epoch: optim.cosine(recipe.lr, epoch, recipe.epochs)
    return lambda epoch: optim.step(recipe.lr, epoch, recipe.milestones)


def pretrain(recipe: Recipe, run: Run) -> Path:
    """Train a recipe; returns the folder with last.pt, config.json and log.jsonl."""
    with group(run.device) as device:
        manifest = open_data(run.data)
        folder = Path(run.out or f"runs/{recipe.method}-{manifest.info.name}")
        last = _checkpoint(run, folder)
        plan = Plan(len(manifest), recipe.batch_size, world(), rank(), recipe.seed)
        loader = stream(manifest, plan, VIEWS[recipe.views](recipe.size), run, device)
        method = method_of(recipe).to(device).to(memory_format=torch.channels_last)  # pyright: ignore
        optimizer = optim.sgd(method, recipe.lr, recipe.momentum, recipe.weight_decay)
        step = checkpoint.resume(last, method, optimizer, recipe) if last else 0
        _announce(recipe, run, manifest, folder, device, step, len(plan))
        total = recipe.epochs * len(plan)
        log = Log(folder / "log.jsonl", done=step, total=total, batch=recipe.batch_size, every=run.log_every)
        try:
            train(
                method, loader, optimizer, recipe, schedule(recipe), log,
                folder=folder, step=step, save_every=run.save_every,
            )  # fmt: skip
        finally:
            log.close()
            loader.close()
    return folder


def _checkpoint(run: Run, folder: Path) -> Path | None:
    """Which checkpoint to go on from; UserError rather than writing over a run."""
    here = folder / "last.pt"
    if run.resume == "auto":
        return here if here.exists() else None
    if run.resume:
        return Path(run.resume)
    if here.exists():
        raise UserError(f"{folder} already holds a run: --resume auto goes on with it, --out starts another")
    return None


def _announce(
    recipe: Recipe, run: Run, manifest: Manifest, folder: Path, device: torch.device, step: int, steps: int
) -> None:
    if rank():
        return
    folder.mkdir(parents=True, exist_ok=True)
    config = {"recipe": dataclasses.asdict(recipe), "run": dataclasses.asdict(run), "data": str(manifest.root)}
    with atomic(folder / "config.json", "w") as file:
        json.dump(config, file, indent=1)
    dropped = len(manifest) - steps * recipe.batch_size
    print(f"{recipe.method}, {recipe.arch} at {recipe.size} px, views {recipe.views}, on {world()} x {device.type}")
    print(
        f"{manifest.info.name}: {len(manifest)} images, {steps} steps an epoch ({dropped} images sit out), {run.loader}"
    )
    print(f"{folder}: from step {step} of {recipe.epochs * steps}")
