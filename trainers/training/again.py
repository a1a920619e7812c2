"""Steps of a run taken again from one of its checkpoints, in memory: nothing is written into its folder."""

import logging
import re
from collections.abc import Generator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ...pipeline.batch import Batch, Loader
from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ...shards.progress import Bar
from ..checkpoints.manager import CheckpointManager
from ..checkpoints.restore import read
from ..checkpoints.rules import followed
from ..checkpoints.same import require_same_set, require_same_start
from ..ranks import gather, rank, world_size
from ..recipes.options import Recipe
from ..threads import Threads, taken
from . import compiling, kernels, setup
from .device_errors import device_errors
from .epochs import objection
from .failure import Taken
from .loop import Stepper
from .options import Run

LOG = logging.getLogger(__name__)


class Again(NamedTuple):
    """A step that was taken again, with the images of all ranks."""

    begun: int  # steps taken before those that were taken again
    threads: int  # of torch
    loss: float  # as a line of log.jsonl has it
    gradient_norm: float
    rows: list[int]  # manifest rows of the images, in the order of the batch
    losses: list[float]  # of these images; empty for a method that keeps none


def checkpoint_before(folder: Path, step: int, per_epoch: int) -> Path:
    """The latest checkpoint in `folder` from before step number `step`. UserError if none is kept."""
    last_and_best = [path for name in ("best.pt", "last.pt") if (path := folder / name).exists()]
    found = {read(path)["step"]: path for path in last_and_best}
    for path in folder.glob("epoch-*.pt"):
        if name := re.fullmatch(r"epoch-(\d+)", path.stem):
            found.setdefault(int(name[1]) * per_epoch, path)
    if before := [number for number in found if number < step]:
        return found[max(before)]
    held = f", its first is of step {min(found):,}" if found else ""
    raise UserError(
        f"{folder} keeps no checkpoint from before step {step:,}{held}: train with --keep-every 1, which keeps one of "
        "each epoch, or take all steps again with --from-start"
    )


def take_again(
    recipe: Recipe, run: Run, data: Manifest, device: torch.device, folder: Path, start: Path | None, step: int
) -> Again:
    """Take the steps of the run in `folder` from checkpoint `start`, None: from its beginning, to number `step` again;
    of the last one the gradients alone. The thread count is that of the checkpoint, or of `run`."""
    last = start or (last if (last := folder / "last.pt").exists() else None)
    with ExitStack() as stack:
        stack.enter_context(kernels.kernels(run, device))
        stack.enter_context(device_errors(recipe, device, None, partial(setup.takes_parts, recipe, data, None)))
        loader = setup.training_loader(recipe, run, data, device, version=followed(last)["order"])
        stack.enter_context(closing(loader))
        state = setup.training_state(recipe, run, data, device, fresh=start is None)
        metadata, per_epoch = setup.metadata_of(recipe, run, data, None, None), len(loader) // recipe.accumulate
        begun, threads = 0, run.threads if isinstance(run.threads, int) else torch.get_num_threads()
        if start:
            checkpoints = stack.enter_context(CheckpointManager(folder, state, metadata, per_epoch=per_epoch))
            begun = checkpoints.resume(start, partial(objection, recipe, state.method, per_epoch))
            threads = checkpoints.threads
        elif last:
            saved = read(last)
            require_same_set(last, "data", saved.get("data"), metadata["data"])
            require_same_start(last, saved.get("start"), metadata["start"])
        stack.enter_context(taken(Threads(threads, "as in the run")))
        if not rank():
            LOG.info(f"{step - begun:,} steps from {start or 'the beginning'} are taken again")
        if compiling.compiled(run, device):
            compiling.compile_encoders(state.method)
        stepper = Stepper(state, recipe, per_epoch)
        again, norm = _steps(stepper, loader, begun, step)
        losses = [gather(part.float()) for part in state.method.kept or ()]
    loss = gather(again.loss.float()[None]).sum().item() / world_size()
    rows = torch.cat([gather(part) for part in again.ids]).tolist()
    return Again(begun, threads, loss, norm, rows, torch.cat(losses).tolist() if losses else [])


def _steps(stepper: Stepper, loader: Loader, begun: int, step: int) -> tuple[Taken, float]:
    """Steps `begun`.. up to number `step`, and the L2 norm of the gradients of the last one."""
    if not begun:
        stepper.prefill(loader)
    epoch, part = divmod(begun * stepper.recipe.accumulate, len(loader))
    with Bar(step - begun, "step", quiet=bool(rank())) as bar, closing(_endless(loader, epoch, part)) as batches:
        for number in range(begun, step - 1):
            stepper.step(number, batches)
            bar.update()
        stepper.method.kept = []
        again = stepper.gradients(step - 1, batches)
        bar.update()
    scale = stepper.state.scaler.get_scale()  # 1 without one
    return again, float(_norm(stepper.parameters)) / scale


def _endless(loader: Loader, epoch: int, start: int) -> Generator[Batch, None, None]:
    """The batches of one epoch after the other."""
    while True:
        yield from loader.epoch(epoch, start=start)
        epoch, start = epoch + 1, 0


def _norm(parameters: list[torch.nn.Parameter]) -> Tensor:
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
