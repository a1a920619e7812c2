"""The losses of a step's images, from steps that are taken again: `replay.py --losses`, on each of its ranks."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from viewstream.shards.environment import environment
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest
from viewstream.shards.messages import aside
from viewstream.tools.replay_options import LISTED, Losses, Replay
from viewstream.tools.replayed import Taken, data_of, draw, listed, recipe_of, run_of, steps_per_epoch, taken
from viewstream.tools.run_files import RunFiles, read_run
from viewstream.trainers.ranks import process_group, rank, world_size
from viewstream.trainers.recipes.options import Recipe
from viewstream.trainers.training.again import Again, checkpoint_before, take_again
from viewstream.trainers.training.kernels import reserve_workspace
from viewstream.trainers.training.options import Run


def show_losses(options: Replay, losses: Losses) -> None:
    """Print the losses of a step, the highest first, and draw the images of these if a place for it is named."""
    found = read_run(options.run)
    recipe, run = recipe_of(found), _options(found, losses)
    reserve_workspace(run)
    with aside():  # notes on the checkpoint: standard output has the answer
        data = data_of(found, options.data)
        images = taken(found, recipe, data, options.step)
        start = _start(found, recipe, data, options.step, begin=losses.from_start)
        with process_group(run.device) as device:
            again = take_again(recipe, run, data, device, options.run, start, options.step)
            first, unequal = not rank(), differences(found, run, device, again)
    if first:
        images, ordered = _highest_first(images, again)
        page: dict[str, Any] = {"step": options.step, "epoch": images.epoch, "from": start.name if start else None}
        page |= {"steps": options.step - again.begun, "exact": not unequal, "differs": unequal}
        page |= {"loss": _plain(again.loss), "logged": logged(found, options.step)}
        page |= {"gradient_norm": _plain(again.gradient_norm)}
        page["images"] = [row | {"loss": _plain(loss)} for row, loss in zip(listed(data, images), ordered, strict=True)]
        print(json.dumps(page, indent=1) if options.json else _text(page, options.run))
        if options.out and not options.json:
            draw(images, recipe, data, options.images, options.out)
            print(f"views of the first {options.images}: {options.out}")


def _options(found: RunFiles, losses: Losses) -> Run:
    """The options of the run for a replay, which neither writes nor measures. Its numbers are those of the
    checkpoint; without one they begin with the files and threads of the run."""
    run = replace(run_of(found), out="", resume="", val="", stage="")
    run = run if losses.device == "same" else replace(run, device=losses.device)
    if not losses.from_start:
        return replace(run, pretrained="", teacher="")
    if type(threads := found.config.get("threads")) is not int:
        raise UserError(f"{found.folder} is of an earlier version, which kept no threads: leave out --from-start")
    return replace(run, threads=threads)


def _start(found: RunFiles, recipe: Recipe, data: Manifest, step: int, *, begin: bool) -> Path | None:
    """The checkpoint to go on from; None: the weights that the run began with."""
    if not begin:
        return checkpoint_before(found.folder, step, steps_per_epoch(recipe, data))
    log = found.folder / "rank-0.log"
    first = log.read_text(errors="replace").partition("\n")[0] if log.exists() else ""
    if " from step 0 of " not in first:
        raise UserError(
            f"{log} does not say that the run began at step 0: leave out --from-start, or copy that log too"
        )
    return None


def differences(found: RunFiles, run: Run, device: torch.device, again: Again) -> list[str]:
    """Why the losses may differ from those of the run by rounding, as far as its configuration tells."""
    was, now = found.config.get("environment", {}), environment()
    torches = [version] if (version := was.get("versions", {}).get("torch")) else []
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    pairs = [(was.get("devices"), f"{world_size()} x {kind}"), (was.get("processor"), now["processor"])]
    pairs += [(f"torch {before}", f"torch {now['versions']['torch']}") for before in torches]
    reasons = [f"it ran on {before}, this is {here}" for before, here in pairs if before not in (None, here)]
    if device.type == "cuda":
        return reasons if run.deterministic else [*reasons, "a GPU repeats its results only with --deterministic"]
    last = found.config.get("threads", again.threads)
    return reasons if last == again.threads else [*reasons, f"{again.threads} threads here, {last} at its end"]


def logged(found: RunFiles, step: int) -> float | None:
    """The loss of a step in log.jsonl; None if no line is of this step alone."""
    steps = [0, *(row["step"] for row in found.steps)]
    alone = step in steps[1:] and step - steps[steps.index(step) - 1] == 1
    return found.steps[steps.index(step) - 1]["loss"] if alone else None


def _highest_first(images: Taken, again: Again) -> tuple[Taken, list[float | None]]:
    """The images of the step and their losses: first those that are not finite, then the highest; None without any."""
    shown: dict[int, list[int]] = {}  # the occurrences of a row
    for row, occurrence in zip(images.rows.tolist(), images.occurrence.tolist(), strict=True):
        shown.setdefault(row, []).append(occurrence)
    occurrences = [shown[row].pop(0) if shown.get(row) else 0 for row in again.rows]  # 0: in place of a damaged one
    losses: list[Any] = again.losses or [None] * len(again.rows)
    order = np.argsort([-math.inf if value is None or math.isnan(value) else -value for value in losses], kind="stable")
    rows = np.array(again.rows)[order], np.array(occurrences)[order]
    return Taken(images.epoch, *rows), [losses[n] for n in order]


def _plain(value: float | None) -> float | str | None:
    """A number for JSON, which has no word for nan."""
    return value if value is None or math.isfinite(value) else str(value)


def _text(page: dict[str, Any], folder: Path) -> str:
    rows, start = page["images"], page["from"] or "the beginning"
    exact = "exact" if page["exact"] else f"equal to rounding only ({'; '.join(page['differs'])})"
    lines = [f"step {page['step']:,} of {folder}, epoch {page['epoch']}: {len(rows):,} images"]
    lines.append(f"{page['steps']:,} steps from {start}, {exact}")
    known = "" if page["logged"] is None else f" (log.jsonl has {page['logged']})"
    lines.append(f"loss {page['loss']}{known}, gradient norm {page['gradient_norm']}")
    if rows[0]["loss"] is None:
        return "\n".join([*lines, "this method keeps no losses of single images"])
    if bad := sum(isinstance(row["loss"], str) for row in rows):
        lines.append(f"the loss of {bad:,} of {len(rows):,} images is not finite")
    lines += [f"{_shown(row['loss']):>10}  {row['row']:>9}  {row['key']}" for row in rows[:LISTED]]
    more = len(rows) - LISTED
    return "\n".join([*lines, *([f"{'':>10}  and {more:,} more: --json prints all"] if more > 0 else [])])


def _shown(loss: float | str) -> str:
    return loss if isinstance(loss, str) else f"{loss:.4f}"
