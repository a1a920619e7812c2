"""The training loop. Knows steps, ranks and checkpoints; knows no method, data set or augmentation."""

import inspect
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..augment.draw import hashed
from ..pipeline.batch import Batch, Loader
from .log import Log
from .method import Method, Now
from .ranks import rank
from .recipes import Recipe

_RENAMED = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters  # torch 2.15
_NO_BUFFERS: dict[str, Any] = {"forward_sync_buffers" if _RENAMED else "broadcast_buffers": False}
RESEED = 0  # the purpose, in a hash of (seed, step, rank), of torch's own generator (dropout)


def train(
    method: nn.Module,
    loader: Loader,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    lr: Callable[[int], float],
    log: Log,
    save: Callable[[int], None],
    *,
    step: int = 0,
    save_every: int = 0,
    probe: Callable[[int], dict[str, float]] | None = None,
) -> None:
    """From optimiser step `step` to the end of the recipe. `lr` is a function of the epoch; `save(step)` is called
    after every epoch and, when `save_every` is set, every so many steps; `probe(epoch)` gives more numbers to log."""
    device = next(method.parameters()).device
    rule: Method = method  # pyright: ignore[reportAssignmentType]
    net = method.train()
    if dist.is_initialized():
        # Queue and key encoder are equal on all ranks by construction and rank 0 saves: broadcasting buffers every step
        # would cost a queue's worth of traffic and change nothing.
        net = DistributedDataParallel(method, **_NO_BUFFERS)
    dtype = precision(recipe, device)
    per_epoch = len(loader)
    total = recipe.epochs * per_epoch

    for epoch in range(step // per_epoch, recipe.epochs):
        for group in optimizer.param_groups:
            group["lr"] = lr(epoch)
        for batch in _timed(loader.epoch(epoch, start=step % per_epoch), log):
            now = Now(step, total, recipe.seed)
            torch.manual_seed(int(hashed(recipe.seed, step, RESEED, rank())[0] >> 1))
            rule.begin(now)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                loss, stats = net(batch, now)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            rule.end(now)
            step += 1
            saving = bool(save_every) and step % save_every == 0
            log.step(step, epoch, lr(epoch), loss, stats, write=saving or step % per_epoch == 0)
            if saving and step % per_epoch:
                save(step)
        log.note(step, epoch, probe(epoch) if probe else {})
        save(step)


def precision(recipe: Recipe, device: torch.device) -> torch.dtype:
    """Of the views and of the forward's matrix products."""
    bf16 = recipe.precision == "bf16" or (recipe.precision == "auto" and device.type == "cuda")
    return torch.bfloat16 if bf16 else torch.float32


def _timed(batches: Iterator[Batch], log: Log) -> Iterator[Batch]:
    """The same batches, with the time spent waiting for them added to the log."""
    while True:
        start = time.perf_counter()
        batch = next(batches, None)
        log.waited += time.perf_counter() - start
        if batch is None:
            return
        yield batch
