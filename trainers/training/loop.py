"""The training loop. Knows steps, ranks and checkpoints; knows no method, data set or augmentation."""

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ...augment.draw import hashed
from ...pipeline.batch import Batch, Loader
from ...shards.errors import UserError
from ...shards.keyed import Purpose
from ..methods.method import Method, Now
from ..ranks import rank
from ..recipes.options import Recipe
from .log import Log

_RENAMED = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters  # torch 2.15
_NO_BUFFERS: dict[str, Any] = {"forward_sync_buffers" if _RENAMED else "broadcast_buffers": False}


def train(
    method: Method,
    loader: Loader,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    recipe: Recipe,
    lr: Callable[[int], float],
    log: Log,
    save: Callable[[int], None],
    *,
    step: int = 0,
    save_every: int = 0,
    probe: Callable[[int], dict[str, float]] | None = None,
) -> int:
    """From optimizer step `step` to the end of the recipe, or until `log` says stop; returns the steps then taken.

    `lr` is a function of the steps taken; `save(step)` is called after every epoch, when the run is to stop and, when
    `save_every` is set, every so many steps; `probe(epoch)` gives more numbers to log.
    """
    device = next(method.parameters()).device
    net: nn.Module = method.train()
    if dist.is_initialized():
        # Queues and teachers are equal on all ranks by construction and rank 0 saves: broadcasting buffers every step
        # would cost a queue's worth of traffic and change nothing.
        net = DistributedDataParallel(method, **_NO_BUFFERS)
    cast = torch.autocast(device.type, dtype := precision(recipe, device), enabled=dtype != torch.float32)
    per_epoch = len(loader) // recipe.accumulate
    total = recipe.epochs * per_epoch
    if not step:
        _prefill(method, loader, recipe, total, cast)

    for epoch in range(step // per_epoch, recipe.epochs):
        batches = _timed(loader.epoch(epoch, start=step % per_epoch * recipe.accumulate), log)
        for _ in range(step % per_epoch, per_epoch):
            now = Now(step, total, recipe.seed)
            for group in optimizer.param_groups:
                group["lr"] = lr(step)
            torch.manual_seed(int(hashed(recipe.seed, step, Purpose.RESEED, rank())[0] >> 1))
            method.before_step(now)
            optimizer.zero_grad(set_to_none=True)
            losses, stats = [], {}
            for part in range(recipe.accumulate):
                last = part + 1 == recipe.accumulate
                with nullcontext() if last or net is method else net.no_sync(), cast:  # pyright: ignore
                    loss, stats = net(next(batches), now)
                    scaler.scale(loss / recipe.accumulate).backward()
                losses.append(loss.detach())
            scaler.step(optimizer)
            scaler.update()
            method.after_step(now)
            step += 1
            saving = bool(save_every) and step % save_every == 0
            log.step(
                step, epoch, lr(step - 1), torch.stack(losses).mean(), stats, write=saving or step % per_epoch == 0
            )
            if log.stopped or (saving and step % per_epoch):
                save(step)
            if log.stopped:
                return step
        log.note(step, epoch, probe(epoch) if probe else {})
        save(step)
    return step


def _prefill(method: Method, loader: Loader, recipe: Recipe, total: int, cast: Any) -> None:
    """Pass batches of epoch -1 to a method that needs its queue full at the first step."""
    wanted = min(method.prefill, len(loader))
    batches = loader.epoch(-1) if wanted else iter(())
    with torch.no_grad(), cast:
        for number in range(wanted):
            method.fill(next(batches), Now(number - wanted, total, recipe.seed))
    if wanted:
        batches.close()  # pyright: ignore


def precision(recipe: Recipe, device: torch.device) -> torch.dtype:
    """Of the views and of the forward's matrix products."""
    if recipe.precision == "fp16" and device.type != "cuda":
        raise UserError("--precision fp16 needs a GPU, whose range its loss scaling is made for: take bf16 or fp32")
    auto = "bf16" if device.type == "cuda" else "fp32"
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    return kinds[auto if recipe.precision == "auto" else recipe.precision]


def _timed(batches: Iterator[Batch], log: Log) -> Iterator[Batch]:
    """The same batches, with the time spent waiting for them added to the log."""
    while True:
        start = time.perf_counter()
        batch = next(batches, None)
        log.waited += time.perf_counter() - start
        if batch is None:
            return
        yield batch
