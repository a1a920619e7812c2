"""One training run, from a recipe and options to a folder of results."""

import dataclasses
import json
import logging
import signal
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import torch

from ...augment.recipes import views_of
from ...augment.spec import Views
from ...pipeline.batch import SampleReader
from ...pipeline.readers.copies import summary
from ...shards.environment import environment
from ...shards.errors import command, plural
from ...shards.files import atomic, writing
from ...shards.manifest import Manifest
from ...shards.redaction import redacted
from ..checkpoints.manager import CheckpointManager
from ..checkpoints.rules import followed
from ..checkpoints.teacher import with_teacher
from ..marks import progress
from ..ranks import process_group, rank, shared, world_size
from ..recipes.options import Recipe
from ..threads import Threads, taken
from . import compiling, kernels, precision, setup
from .device_errors import device_errors
from .epochs import objection
from .folder import claimed
from .log import Log
from .loop import train
from .options import Run
from .sheet import sheet
from .signals import stopping
from .threads import of_run
from .validate import Validator

LOG = logging.getLogger(__name__)


def pretrain(
    recipe: Recipe,
    run: Run,
    *,
    data: Manifest | None = None,
    views: Views | None = None,
    reader: SampleReader | None = None,
) -> Path:
    """Train a recipe; returns the run's folder, which holds last.pt, config.json and log.jsonl.

    `data`, `views` and `reader` are objects of your own in place of those that `run` and `recipe` name: a training set,
    views that may end with ops of your own, and the reader of that set's samples. After Ctrl-C the run is saved, then
    KeyboardInterrupt is raised.
    """
    setup.require_loggers(run)
    kernels.reserve_workspace(run)
    with process_group(run.device, run.watchdog) as device, ExitStack() as stack:
        recipe = with_teacher(recipe, run.teacher, run.network, ema=run.ema)
        compiles = compiling.compiled(run, device)
        data = data or run.training()
        folder = Path(run.out or f"runs/{recipe.method}-{data.info.name}")
        stack.enter_context(claimed(folder))
        progress.folder = folder
        stack.enter_context(kernels.kernels(run, device))
        stack.enter_context(device_errors(recipe, device, folder, partial(setup.takes_parts, recipe, data, views)))
        last = setup.checkpoint_to_resume(run.resume, folder)
        order = followed(last)["order"]
        loader = stack.enter_context(closing(setup.training_loader(recipe, run, data, device, views, reader, order)))
        state = setup.training_state(recipe, run, data, device, fresh=last is None)
        val = run.test() if run.eval_every else None
        metadata = setup.metadata_of(recipe, run, data, val, views)
        per_epoch = len(loader) // recipe.accumulate
        probe = setup.online_probe(recipe, run, data, state.method)
        if probe:
            stack.enter_context(closing(probe))
        checkpoints = CheckpointManager(
            folder, state, metadata, probe, per_epoch=per_epoch, save_every=run.save_every, keep_every=run.keep_every
        )
        against = partial(objection, recipe, state.method, per_epoch)
        step, total = checkpoints.resume(last, against) if last else 0, recipe.epochs * per_epoch
        threads = of_run(recipe, run, state.method, device, last, checkpoints.threads)
        stack.enter_context(taken(threads))
        validator = None
        if val is not None:
            validator = stack.enter_context(closing(Validator(state.method, recipe, run, data, val, device, probe)))
        if compiles:
            compiling.compile_encoders(state.method)
        if not rank():
            _write_config(folder, recipe, run, data, device, threads)
            _announce(recipe, run, data, per_epoch, device, threads)
            LOG.info(f"{folder}: from step {step} of {total}")
        loggers = setup.metric_loggers(run, folder, metadata, step)
        log = Log(
            folder,
            range(step, total),
            batch=recipe.batch_size,
            every=run.log_every,
            loggers=loggers,
            times=getattr(loader, "times", None),
            sheet=partial(sheet, views or views_of(recipe.views, recipe.size)),
        )
        stack.enter_context(closing(log))
        received = stack.enter_context(stopping(log))
        stack.enter_context(checkpoints)
        step = train(recipe, loader, checkpoints, log, validator, step=step)
        progress.at("the last checkpoint, on its way to disk")
        checkpoints.finish()
        first, staged = not rank(), _say_staged(log)
        shared("saved")  # rank 0 writes the checkpoint, and the first rank that fails or is stopped ends the others
        progress.rest()
    if first:  # the progress bar has ended
        if staged:
            LOG.info(staged)
        _conclude(folder, step, total)
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    return folder


def _write_config(
    folder: Path, recipe: Recipe, run: Run, data: Manifest, device: torch.device, threads: Threads
) -> None:
    config = {"recipe": dataclasses.asdict(recipe), "run": dataclasses.asdict(run), "data": str(data.root)}
    config["precision"] = precision.resolved(recipe, device)  # what the recipe's own word means here
    config["threads"] = threads.number
    config["environment"] = environment() | {"devices": f"{world_size()} x {_name(device)}"}
    with writing(folder / "config.json"), atomic(folder / "config.json", "w") as file:
        file.write(redacted(json.dumps(config, indent=1, default=str)))


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _announce(recipe: Recipe, run: Run, data: Manifest, per_epoch: int, device: torch.device, threads: Threads) -> None:
    where = f"on {world_size()} x {device.type}"
    LOG.info(f"{recipe.method}, {recipe.arch} at {recipe.size} px, {recipe.views} views, {where}")
    LOG.info(f"precision {precision.described(recipe, device)}")
    LOG.info(str(threads))
    for note in (compiling.described(run, device), kernels.described(run, device)):
        if note:
            LOG.info(note)
    more = setup.training_plan(recipe, data).shown - len(data)
    rest = f"{more} shown twice to fill the last one" if more > 0 else f"{-more} left out"
    steps = plural(per_epoch, "step")
    LOG.info(f"{data.info.name}, {run.loader} loader: {plural(len(data), 'image')}, {steps} per epoch, {rest}")


def _say_staged(log: Log) -> str:
    """Write what a stage did for this rank into its log; the line, "" without a stage."""
    if line := summary():
        line = f"{line}; {log.waited_before + log.waited:.1f} s were spent waiting for data"
        log.say(line)
    return line


def _conclude(folder: Path, step: int, total: int) -> None:
    if step < total:
        LOG.info(f"stopped after step {step} of {total}: --resume auto continues")
    else:
        words = ("--task", "knn", "--checkpoint", folder / "last.pt")
        LOG.info(f"next: {command('python trainers/evaluate.py', *words)}")
