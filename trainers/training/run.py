"""Where and how a run happens, and the one place that builds everything a recipe needs."""

import dataclasses
import hashlib
import json
import signal
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import nn

from ...augment.recipes import views_of
from ...pipeline.plan.order import Plan
from ...pipeline.plan.orders import Balanced, WindowShuffle
from ...shards.errors import UserError
from ...shards.files import atomic
from ...shards.manifest import Manifest
from ..checkpoints.manager import CheckpointManager
from ..checkpoints.pretrained import load_pretrained
from ..data import Network, OnError, Sets, loading
from ..methods import build as methods
from ..methods.method import Method
from ..nets.encoder import Encoder
from ..ranks import process_group, rank, world_size
from ..recipes.options import Recipe, Supervised
from . import optim
from . import validate as online
from .log import Log
from .loggers import MetricLogger, TensorBoardLogger, WandbLogger
from .loop import precision, train


@dataclass(frozen=True, kw_only=True)
class Run(Sets):
    """Where and how fast a run happens"""

    out: Annotated[str, "folder of the run (runs/METHOD-DATA)"] = ""
    resume: Annotated[str, "`auto` goes on from OUT/last.pt if it is there, a path from that checkpoint"] = ""
    pretrained: Annotated[str, "checkpoint, ours or a release's, whose weights a new run begins with"] = ""
    teacher: Annotated[str, "checkpoint of SEED's teacher, ours or a release's"] = ""
    network: Network = "auto"
    on_error: OnError = "stop"
    device: Annotated[Literal["auto", "cuda", "cpu"], "auto: a GPU if there is one"] = "auto"
    compile: Annotated[bool, "let torch.compile fuse the networks"] = False
    save_every: Annotated[int, "steps between checkpoints, besides the one each epoch", 0] = 0
    keep_every: Annotated[int, "epochs between checkpoints that are kept as epoch-NNNN.pt; 0: none", 0] = 0
    log_every: Annotated[int, "steps between log lines", 1] = 10
    eval_every: Annotated[int, "epochs between evaluations on --val: kNN, or a classifier's top-1; 0: none", 0] = 0
    knn_k: Annotated[int, "neighbors that vote in kNN", 1] = 200
    tensorboard: Annotated[bool, "write event files into the run's folder"] = False
    wandb: Annotated[str, "project of Weights & Biases to log to"] = ""


def pretrain(recipe: Recipe, run: Run) -> Path:
    """Train a recipe; returns the folder with last.pt, config.json and log.jsonl."""
    with process_group(run.device) as device, ExitStack() as stack:
        data = run.training()
        folder = Path(run.out or f"runs/{recipe.method}-{data.info.name}")
        last = _checkpoint(run, folder)
        views = views_of(recipe.views, recipe.size)
        plan = _plan(recipe, data)
        methods.check(recipe, views, data)
        dtype = precision(recipe, device)
        loader = stack.enter_context(
            closing(loading(data, plan, views, run, device, dtype, skip=run.on_error == "skip"))
        )
        method = methods.build(recipe, len(data.info.classes))
        if not last:
            load_pretrained(method, recipe, run.pretrained, run.teacher, run.network)
        net: Method = method.to(device, memory_format=torch.channels_last)  # pyright: ignore
        optimizer, scaler = (
            optim.optimizer_of(net, recipe),
            torch.amp.GradScaler(device.type, enabled=dtype == torch.float16),
        )
        metadata = {"recipe": dataclasses.asdict(recipe), "data": identity(data)}
        per_epoch = len(loader) // recipe.accumulate
        if not per_epoch:
            raise UserError(f"{len(data)} images are less than one batch of {recipe.batch_size}: lower --batch-size")
        checkpoints = CheckpointManager(
            folder, net, optimizer, scaler, metadata, per_epoch=per_epoch, keep=run.keep_every
        )
        step = checkpoints.resume(last) if last else 0
        val = run.test() if run.eval_every else data
        measure = online.probe_of(method, data, val, recipe, run, device, run.knn_k, stack) if run.eval_every else None
        if run.compile:
            _compile(net)
        _announce(recipe, run, data, per_epoch, device, folder, step)
        total = recipe.epochs * per_epoch
        log = Log(
            folder, done=step, total=total, batch=recipe.batch_size, every=run.log_every,
            writers=_writers(run, folder, metadata),
        )  # fmt: skip
        stack.enter_context(closing(log))
        stack.callback(signal.signal, signal.SIGTERM, _request_stop_on_sigterm(log))

        def probe(epoch: int) -> dict[str, float]:
            if measure is None or ((epoch + 1) % run.eval_every and epoch + 1 < recipe.epochs):
                return {}
            values = measure()
            checkpoints.report_metric(next(iter(values.values())))
            return values

        step = train(
            net, loader, optimizer, scaler, recipe, optim.schedule(recipe, per_epoch), log, checkpoints.save,
            step=step, save_every=run.save_every, probe=probe,
        )  # fmt: skip
        if not rank():
            print(f"stopped after step {step} of {total}: --resume auto goes on" if step < total else
                  f"next: python trainers/evaluate.py --task knn --checkpoint {folder / 'last.pt'}")  # fmt: skip
    return folder


def identity(manifest: Manifest) -> dict[str, Any]:
    """What tells two data sets apart: their images, in order."""
    uids = hashlib.sha256(manifest.uid.tobytes()).hexdigest()
    return {"name": manifest.info.name, "samples": len(manifest), "uids": uids, "classes": len(manifest.info.classes)}


def _plan(recipe: Recipe, data: Manifest) -> Plan:
    order = WindowShuffle(data.shard, recipe.window) if recipe.order == "blocks" else None
    if isinstance(recipe, Supervised) and recipe.balanced:
        if order:
            raise UserError("--balanced and --order blocks are two orders: choose one")
        order = Balanced(data.label, recipe.bal_repeat)
    part = recipe.batch_size // recipe.accumulate
    return Plan(len(data), part, world_size(), rank(), recipe.seed, order=order)


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


def _compile(method: nn.Module) -> None:
    for net in method.modules():
        if isinstance(net, Encoder):
            net.compile()  # in place: checkpoints keep their keys


def _request_stop_on_sigterm(log: Log) -> Any:
    """SIGTERM, by which schedulers announce pre-emption, saves and ends the run at its next log line. Returns what
    SIGTERM did before."""

    def stop(*_: Any) -> None:
        log.stop = True

    return signal.signal(signal.SIGTERM, stop)


def _writers(run: Run, folder: Path, metadata: dict[str, Any]) -> tuple[MetricLogger, ...]:
    if rank():
        return ()
    board = (TensorBoardLogger(folder),) if run.tensorboard else ()
    return (*board, *((WandbLogger(folder, run.wandb, metadata),) if run.wandb else ()))


def _announce(
    recipe: Recipe, run: Run, data: Manifest, steps: int, device: torch.device, folder: Path, step: int
) -> None:
    if rank():
        return
    folder.mkdir(parents=True, exist_ok=True)
    config = {"recipe": dataclasses.asdict(recipe), "run": dataclasses.asdict(run), "data": str(data.root)}
    with atomic(folder / "config.json", "w") as file:
        json.dump(config, file, indent=1, default=str)
    print(
        f"{recipe.method}, {recipe.arch} at {recipe.size} px, {recipe.views} views, on {world_size()} x {device.type}"
    )
    left = len(data) - steps * recipe.batch_size
    print(f"{data.info.name}, {run.loader} loader: {len(data)} images, {steps} steps an epoch, {left} left out")
    print(f"{folder}: from step {step} of {recipe.epochs * steps}")
