"""Where and how a run happens, and the one place that builds everything a recipe needs."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import nn

from ..augment.recipes import views_of
from ..augment.spec import size_of
from ..pipeline.batch import Loader
from ..pipeline.order import Plan
from ..pipeline.orders import Blocks
from ..shards.errors import UserError
from ..shards.files import atomic
from ..shards.manifest import Manifest
from . import checkpoint, optim
from .data import Loading, evaluating, loading, open_data
from .evals import knn
from .evals.features import features
from .log import Log
from .loop import precision, train
from .moco import MoCo
from .nets import encoder
from .parts import check_groups
from .ranks import group, rank, share_buffers, world
from .recipes import Recipe


@dataclass(frozen=True, kw_only=True)
class Run(Loading):
    """Where and how fast a run happens"""

    recipe: Annotated[str, "named recipe whose values the other options change (the method's newest)"] = ""
    data: Annotated[str, "a built training set (the newest under data/shards)"] = ""
    out: Annotated[str, "folder of the run (runs/METHOD-DATA)"] = ""
    resume: Annotated[str, "`auto` goes on from OUT/last.pt if it is there, a path from that checkpoint"] = ""
    device: Annotated[Literal["auto", "cuda", "cpu"], "auto: a GPU if there is one"] = "auto"
    save_every: Annotated[int, "steps between checkpoints, besides the one each epoch", 0] = 0
    log_every: Annotated[int, "steps between log lines", 1] = 10
    knn_every: Annotated[int, "epochs between weighted kNN evaluations on --val; 0: none", 0] = 0
    knn_k: Annotated[int, "neighbours that vote in it", 1] = 200
    val: Annotated[str, "a built validation set for it (the newest under data/shards)"] = ""


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
    check_groups(recipe.bn_groups, recipe.batch_size)
    return moco


def schedule(recipe: Recipe) -> Callable[[int], float]:
    """The learning rate as a function of the epoch."""
    if recipe.schedule == "cos":
        return lambda epoch: optim.cosine(recipe.lr, epoch, recipe.epochs)
    return lambda epoch: optim.step(recipe.lr, epoch, recipe.milestones)


def pretrain(recipe: Recipe, run: Run) -> Path:
    """Train a recipe; returns the folder with last.pt, config.json and log.jsonl."""
    with group(run.device) as device, ExitStack() as stack:
        manifest = open_data(run.data, "train", run)
        folder = Path(run.out or f"runs/{recipe.method}-{manifest.info.name}")
        last = _checkpoint(run, folder)
        views = views_of(recipe.views, recipe.size)
        if len({size_of(view) for view in views}) > 1 or len(views) != 2:
            raise UserError(f"--views {recipe.views} makes {len(views)} views: moco compares two of one size")
        order = Blocks(manifest.shard, recipe.window) if recipe.order == "blocks" else None
        plan = Plan(len(manifest), recipe.batch_size, world(), rank(), recipe.seed, order=order)
        loader = loading(manifest, plan, views, run, device, precision(recipe, device))
        stack.enter_context(closing(loader))
        method = method_of(recipe).to(device).to(memory_format=torch.channels_last)  # pyright: ignore
        optimizer = optim.sgd(method, recipe.lr, recipe.momentum, recipe.weight_decay)
        about = {"recipe": dataclasses.asdict(recipe), "data": identity(manifest)}
        step = checkpoint.resume(last, method, optimizer, about) if last else 0
        probe = _online_knn(method, manifest, recipe, run, device, stack) if run.knn_every else None
        _announce(recipe, run, manifest, loader, device, folder, step)
        total = recipe.epochs * len(loader)
        log = Log(folder / "log.jsonl", done=step, total=total, batch=recipe.batch_size, every=run.log_every)
        stack.enter_context(closing(log))
        save = partial(checkpoint.save, folder / "last.pt", method, optimizer, about)
        train(
            method, loader, optimizer, recipe, schedule(recipe), log, save,
            step=step, save_every=run.save_every, probe=probe,
        )  # fmt: skip
        if not rank():
            print(f"next: python trainers/evaluate.py --task knn --checkpoint {folder / 'last.pt'}")
    return folder


def identity(manifest: Manifest) -> dict[str, Any]:
    """What tells two data sets apart: their pictures, in order."""
    uids = hashlib.sha256(manifest.uid.tobytes()).hexdigest()
    return {"name": manifest.info.name, "samples": len(manifest), "uids": uids}


def _checkpoint(run: Run, folder: Path) -> Path | None:
    """Which checkpoint to go on from; UserError rather than writing over a run."""
    here = folder / "last.pt"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a folder with --out")
    if run.resume == "auto":
        return here if here.exists() else None
    if here.exists() and (not run.resume or Path(run.resume).resolve() != here.resolve()):
        raise UserError(f"{folder} already holds a run: --resume auto goes on with it, --out starts another")
    return Path(run.resume) if run.resume else None


def _online_knn(
    method: MoCo, bank: Manifest, recipe: Recipe, run: Run, device: torch.device, stack: ExitStack
) -> Callable[[int], dict[str, float]]:
    """What the loop asks after an epoch; answered every `knn_every` epochs by the online backbone's kNN accuracy."""
    data = (bank, open_data(run.val, "val", run))
    for m in data:
        m.require_labels("--knn-every")
    sets = [stack.enter_context(closing(evaluating(m, recipe.size, recipe.batch_size, run, device))) for m in data]

    def probe(epoch: int) -> dict[str, float]:
        if (epoch + 1) % run.knn_every and epoch + 1 < recipe.epochs:
            return {}
        net = method.online.backbone
        assert isinstance(net, nn.Module)
        share_buffers(net)  # else each rank would embed its share by statistics of its own
        (bank_x, bank_y), (x, y) = (features(net, loader) for loader in sets)
        method.train()
        return {"knn": dict(knn.weighted(bank_x, bank_y, x, y, k=run.knn_k)).popitem()[1]}

    return probe


def _announce(
    recipe: Recipe, run: Run, data: Manifest, loader: Loader, device: torch.device, folder: Path, step: int
) -> None:
    if rank():
        return
    folder.mkdir(parents=True, exist_ok=True)
    config = {"recipe": dataclasses.asdict(recipe), "run": dataclasses.asdict(run), "data": str(data.root)}
    with atomic(folder / "config.json", "w") as file:
        json.dump(config, file, indent=1, default=str)
    left = len(data) - len(loader) * recipe.batch_size
    print(f"{recipe.method}, {recipe.arch} at {recipe.size} px, {recipe.views} views, on {world()} x {device.type}")
    print(f"{data.info.name}, {run.loader} loader: {len(data)} images, {len(loader)} steps an epoch, {left} left out")
    print(f"{folder}: from step {step} of {recipe.epochs * len(loader)}")
