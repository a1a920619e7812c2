"""The training loop. It knows steps, ranks and checkpoints, but no method, data set or augmentation."""

import inspect
import time
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ...augment.draw import hashed
from ...pipeline.batch import Batch, Loader
from ...shards.engine import begun
from ...shards.errors import UserError
from ...shards.keyed import Purpose
from ..checkpoints.manager import CheckpointManager, TrainState
from ..marks import progress
from ..methods.method import Now, Stats
from ..nets.dropout import begin_step
from ..ranks import own_seed
from ..recipes.options import Recipe
from .failure import Taken, magnitude, report
from .log import Log
from .optim import schedule
from .precision import precision
from .validate import Validator

# Queues and teachers are equal on all ranks by construction and rank 0 saves: broadcasting buffers every step would
# cost a queue's worth of traffic and change nothing. They are still broadcast once, when DDP is made.
_RENAMED = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters  # since torch 2.13
_NO_BUFFERS: dict[str, Any] = {"forward_sync_buffers" if _RENAMED else "broadcast_buffers": False}


def train(
    recipe: Recipe,
    loader: Loader,
    checkpoints: CheckpointManager,
    log: Log,
    validator: Validator | None = None,
    *,
    step: int = 0,
) -> int:
    """Train the state of `checkpoints` from optimizer step `step` to the end of the recipe, or until `log` is stopped;
    returns the number of steps then taken."""
    per_epoch = len(loader) // recipe.accumulate
    stepper = Stepper(checkpoints.state, recipe, per_epoch)
    if not step:
        stepper.prefill(loader)
    owed = step and not step % per_epoch and not checkpoints.measured(step)  # stopped between a step and its number
    if owed and validator and validator.due(step // per_epoch - 1):
        _measure(validator, step, step // per_epoch - 1, checkpoints, log)
    if step == recipe.epochs * per_epoch:
        return step
    batches = _timed(loader, step // per_epoch, step % per_epoch * recipe.accumulate, log)
    for epoch in range(step // per_epoch, recipe.epochs):
        for _ in range(step % per_epoch, per_epoch):
            taken = stepper.step(step, batches)
            step += 1
            saving = checkpoints.due(step)
            if not step % per_epoch and epoch + 1 < recipe.epochs:  # the next epoch is read during the save
                batches.close()  # a reader serves one epoch at a time
                batches = _timed(loader, epoch + 1, 0, log)
            log.step(step, epoch, stepper.lr(step - 1), taken, write=saving)
            if log.failed:
                checkpoints.finish()
                raise UserError(report(checkpoints.folder, log.interval, step, stepper.lr, epoch))
            if log.stopped:
                checkpoints.save(step)
                return step
            if validator and not step % per_epoch and validator.due(epoch):
                _measure(validator, step, epoch, checkpoints, log)
            elif saving:
                checkpoints.save(step)
    return step


def _measure(validator: Validator, step: int, epoch: int, checkpoints: CheckpointManager, log: Log) -> None:
    """Measure the weights and save them with the number, so that no checkpoint holds one without the other."""
    values = validator.measure()
    log.note(step, epoch, values)
    checkpoints.report_metric(step, next(iter(values.values())))
    checkpoints.save(step)


class Stepper:
    """Takes optimizer steps with a recipe of `per_epoch` steps per epoch; `lr(step)` is the rate of a step."""

    def __init__(self, state: TrainState, recipe: Recipe, per_epoch: int):
        self.state, self.recipe, self.total = state, recipe, recipe.epochs * per_epoch
        self.lr = schedule(recipe, per_epoch)
        self.method = state.method
        self.net: nn.Module = state.method.train()
        if dist.is_initialized():
            # Gradients are views of the buckets that are exchanged, which takes their memory once instead of twice.
            self.net = _arranged(DistributedDataParallel(state.method, gradient_as_bucket_view=True, **_NO_BUFFERS))
        self.parameters = [p for p in state.method.parameters() if p.requires_grad]
        dtype = precision(recipe, state.device)
        self.cast = torch.autocast(state.device.type, dtype, enabled=dtype != torch.float32)

    def prefill(self, loader: Loader) -> None:
        """Give batches of epoch -1 to a method that needs a full queue at its first step."""
        count = min(self.method.prefill, len(loader))
        if not count:
            return
        batches = loader.epoch(-1)
        for step in range(-count, 0):
            progress.at("batches that fill the queue")
            batch = next(batches)  # views are rendered in fp32: outside of autocast
            begin_step(self.method, self.recipe.seed, step)
            with torch.no_grad(), self.cast:
                self.method.fill(batch, Now(step, self.total, self.recipe.seed))
        batches.close()  # pyright: ignore

    def step(self, step: int, batches: Iterator[Batch]) -> Taken:
        """Take step `step`, counted from 0, with the next `accumulate` batches."""
        taken, scaler = self.gradients(step, batches), self.state.scaler
        scaler.step(self.state.optimizer)
        scaler.update()
        self.method.after_step(self._now(step))
        return taken

    def gradients(self, step: int, batches: Iterator[Batch]) -> Taken:
        """The first half of `step`, which leaves the gradients of its batches and changes no weight by them."""
        now, optimizer, scaler = self._now(step), self.state.optimizer, self.state.scaler
        for group in optimizer.param_groups:
            group["lr"] = self.lr(step)
        torch.manual_seed(own_seed(int(hashed(self.recipe.seed, step, Purpose.RESEED)[0])))
        begin_step(self.method, now.seed, step)
        self.method.before_step(now)
        optimizer.zero_grad(set_to_none=True)
        losses, stats, ids = [], {}, []
        for part in range(self.recipe.accumulate):
            loss, stats, index = self._backward(batches, now, sync=part + 1 == self.recipe.accumulate)
            losses.append(loss)
            ids.append(index)
        loss = torch.stack(losses).mean()
        # A scaler skips the step of a gradient that overflows, and scales less from there on: that is no failure.
        gradient = torch.zeros_like(loss) if scaler.is_enabled() else magnitude(self.parameters)
        return Taken(loss, stats, gradient, tuple(ids))

    def _now(self, step: int) -> Now:
        return Now(step, self.total, self.recipe.seed)

    def _backward(self, batches: Iterator[Batch], now: Now, *, sync: bool) -> tuple[Tensor, Stats, Tensor]:
        """Add the gradients of the next batch; `sync`: exchange the sum with the other ranks. Loss, stats, rows."""
        progress.at(f"the loader's batch for step {now.step + 1}")
        batch = next(batches)  # views are rendered in fp32: outside of autocast
        progress.at(f"step {now.step + 1}")
        ranks = self.net if isinstance(self.net, DistributedDataParallel) else None
        with ranks.no_sync() if ranks and not sync else nullcontext():
            with self.cast:  # the forward alone: a backward has the precision of its forward
                loss, stats = self.net(batch, now)
            self.state.scaler.scale(loss / self.recipe.accumulate).backward()
        return loss.detach(), stats, batch.index


def _arranged(ranks: DistributedDataParallel) -> DistributedDataParallel:
    """`ranks` with its buckets in their final order. DDP orders them by its first backward: without this one, a resumed
    run of three or more ranks would add up the gradients of its first step in another order than an undisturbed run."""
    method = ranks.module
    method.forward = lambda: torch.stack([p.sum() for p in method.parameters() if p.requires_grad]).sum()
    ranks().backward()
    del method.forward
    method.zero_grad(set_to_none=True)
    return ranks


@begun
def _timed(loader: Loader, epoch: int, start: int, log: Log) -> Generator[Batch | None, None, None]:
    """Batches `start`.. of an epoch, which the loader may begin to read now; the time spent waiting is added to the
    log."""
    since = time.perf_counter()
    batches = loader.epoch(epoch, start=start)
    log.waited += time.perf_counter() - since
    yield
    while True:
        since = time.perf_counter()
        batch = next(batches, None)
        log.waited += time.perf_counter() - since
        if batch is None:
            return
        log.show(batch)
        yield batch
