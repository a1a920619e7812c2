"""Checkpoints: written atomically, read with `weights_only`, refused with reasons."""

import math
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...shards.errors import UserError
from ...shards.files import atomic
from ..ranks import gather, rank, world_size

State = dict[str, Any]


class CheckpointManager:
    """Writes a run's checkpoints: last.pt, best.pt by what `report_metric` was told, and epoch-NNNN.pt every `keep`
    epochs.

    Rank 0's state; all ranks agree on it but for BatchNorm's running statistics, which training does not read.
    `metadata` names the recipe and the data that the state belongs to.
    """

    def __init__(
        self, folder: Path, method: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler,
        metadata: State, *, per_epoch: int, keep: int = 0,
    ):  # fmt: skip
        self.folder, self.method, self.optimizer, self.scaler = folder, method, optimizer, scaler
        self.metadata, self.per_epoch, self.keep = metadata, per_epoch, keep
        self.best, self._improved = -math.inf, False

    def report_metric(self, value: float) -> None:
        """The number that best.pt has the highest of, measured before the next `save`."""
        self._improved, self.best = value > self.best, max(value, self.best)

    def save(self, step: int) -> None:
        """UserError, on every rank, for weights that are not finite: the loss that was checked is from before the step
        that made them."""
        if not torch.stack([p.detach().sum() for p in self.method.parameters()]).isfinite().all():
            raise UserError(
                f"the weights are not finite after step {step}: lower --lr; the last checkpoint is from before"
            )
        if rank():
            return
        last, epoch = self.folder / "last.pt", step // self.per_epoch
        with atomic(last) as file:  # a killed run leaves the previous checkpoint whole
            torch.save(self._state(step), file)
        if self._improved:
            _link(last, self.folder / "best.pt")
        if self.keep and not step % self.per_epoch and not epoch % self.keep:
            _link(last, self.folder / f"epoch-{epoch:04d}.pt")

    def _state(self, step: int) -> State:
        return {
            "step": step,
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best": self.best,
            "world": world_size(),
            "threads": torch.get_num_threads(),
            **self.metadata,
        }

    def resume(self, path: Path) -> int:
        """Load a checkpoint and return the steps taken; UserError when it is of another recipe or data set."""
        state = read(path)
        for what, remedy in (("recipe", "repeat its options"), ("data", "name its --data")):
            was, now = state[what], self.metadata[what]
            changed = [f"{k} {was.get(k)!r} -> {v!r}" for k, v in now.items() if was.get(k) != v]
            if changed:
                raise UserError(
                    f"{path} was trained with another {what} ({'; '.join(changed)}): "
                    f"{remedy}, or start anew with another --out"
                )
        load(self.method, state["method"], path)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.best = state["best"]
        for what, here in (("world", world_size()), ("threads", torch.get_num_threads())):
            if state[what] != here and not rank():
                print(
                    f"note: saved with {what} {state[what]}, now {here}: same ids and draws, losses equal to rounding "
                    f"only"
                )
        steps = gather(torch.tensor([state["step"]], device=next(self.method.parameters()).device))
        if (steps != steps[0]).any():
            raise UserError(
                f"the ranks read different checkpoints at {path} (steps {steps.tolist()}): share the folder"
            )
        return state["step"]


def _link(source: Path, name: Path) -> None:
    """The same bytes under another name; `source` is later replaced, never written to."""
    new = name.with_name(name.name + ".partial")
    new.unlink(missing_ok=True)
    try:
        os.link(source, new)
    except OSError:  # a file system without links
        shutil.copyfile(source, new)
    new.replace(name)


def read(path: Path) -> State:
    """A checkpoint of ours, on the CPU."""
    if not path.exists():
        raise UserError(f"there is no checkpoint {path}: train first, or name another")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's own errors have no common base
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} is not a readable checkpoint ({first}): train again, or name another") from error
    if not isinstance(state, dict) or not {"step", "method", "recipe", "data", "scaler"} <= state.keys():
        raise UserError(f"{path} is not a checkpoint of this project: it lacks step, method, recipe, data or scaler")
    return state


def load(net: nn.Module, weights: State, path: Path) -> None:
    """Strictly; UserError that lists what does not fit."""
    own = net.state_dict()
    wrong = [f"{k} missing" for k in own.keys() - weights.keys()]
    wrong += [f"{k} unknown" for k in weights.keys() - own.keys()]
    wrong += [f"{k} {tuple(weights[k].shape)} for {tuple(own[k].shape)}" for k in own.keys() & weights.keys()
              if weights[k].shape != own[k].shape]  # fmt: skip
    if wrong:
        few = "; ".join(sorted(wrong)[:4])
        raise UserError(f"{path} is of another architecture, {len(wrong)} entries do not fit ({few}): give its --arch")
    net.load_state_dict(weights)
