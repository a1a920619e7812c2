"""Checkpoints of a run: written atomically by a thread, compared with the run before they are resumed."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from ...shards.errors import UserError
from ...shards.files import atomic, sync, writing
from ..marks import progress
from ..methods.method import Method
from ..ranks import gather, rank, shared, world_size
from .files import from_before, link, save
from .restore import load_all, load_optimizer, read
from .rules import VERSIONS, kept, note_older_rules
from .same import (
    note,
    note_longer_epochs,
    note_other_decoder,
    require_same_recipe,
    require_same_set,
    require_same_start,
)
from .snapshot import Snapshot, Snapshots
from .writer import Writer

LOG = logging.getLogger(__name__)

TOGETHER = 1.0  # seconds in which a rank may be alone with a disk


@dataclass(frozen=True)
class TrainState:
    """What a training step changes: the method, its optimizer and the scaler of the loss."""

    method: Method
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler

    @property
    def device(self) -> torch.device:
        return next(self.method.parameters()).device


class Probe(Protocol):
    """What is trained beside a method, of which a checkpoint holds the state too."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None: ...


class CheckpointManager:
    """Writes a run's checkpoints into `folder`: last.pt, best.pt by the reported metric, and epoch-NNNN.pt.

    A checkpoint holds the state of rank 0; all ranks agree on it except for BatchNorm's running statistics, which
    training does not read. `metadata` (setup.py) has what a resumed run must repeat: `recipe`, `data`, `val`, `start`;
    of another `decode` a note is printed.
    Besides the end of each epoch of `per_epoch` steps, a checkpoint is due every `save_every` steps; every `keep_every`
    epochs one is kept. 0: none.

    A thread writes a copy of the state while training goes on, one checkpoint after the other. A `with` block ends when
    the last one is on disk; an error of the thread comes at the next `save` or `finish`, or at the end of the block.
    """

    def __init__(
        self,
        folder: Path,
        state: TrainState,
        metadata: dict[str, Any],
        probe: Probe | None = None,
        *,
        per_epoch: int,
        save_every: int = 0,
        keep_every: int = 0,
    ):
        self.folder, self.state, self.metadata, self.probe = folder, state, metadata, probe
        self.per_epoch, self.save_every, self.keep_every = per_epoch, save_every, keep_every
        self.best, self._improved, self._measured = -math.inf, False, 0
        self._versions = VERSIONS
        self.threads = 0  # of torch, in the steps before a resume
        self._snapshots, self._writer = Snapshots(state.device), Writer()

    def __enter__(self) -> "CheckpointManager":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._writer.close()
        except UserError as error:
            if kind is None:
                raise
            LOG.warning(f"note: {error}")  # the run ends with the error that came first

    def due(self, step: int) -> bool:
        """Whether a checkpoint is to be saved after `step` steps."""
        return not step % self.per_epoch or bool(self.save_every and not step % self.save_every)

    def measured(self, step: int) -> bool:
        """Whether a metric was reported after `step` steps, also before a resume."""
        return step == self._measured

    def report_metric(self, step: int, value: float) -> None:
        """Report a validation metric of the weights after `step` steps; the `save` of that step, which has to follow,
        also writes best.pt if it is the highest so far."""
        self._measured = step
        if value > self.best:
            self._improved, self.best = True, value

    def save(self, step: int) -> None:
        """Begin to write the checkpoint after `step` steps; what changes from now on does not reach it.

        UserError, on every rank, if the weights are not finite: the loss was checked before the step that made them.
        UserError too if the checkpoint before could not be written."""
        progress.at(f"the checkpoint of step {step}")
        self.finish()  # its memory is used again
        if not torch.stack([p.detach().sum() for p in self.state.method.parameters()]).isfinite().all():
            raise UserError(f"the weights are not finite after step {step}: lower --lr{from_before(self.folder)}")
        improved, self._improved = self._improved, False
        if not rank():
            self._writer.start(partial(self._write, self._snapshots.take(self._content(step)), step, improved))

    def finish(self) -> None:
        """Wait, all ranks together, until the last checkpoint is on disk. UserError if it cannot be written."""
        while shared("" if self._writer.idle(TOGETHER) else "writes"):
            pass  # the other ranks do not wait for a slow disk in a collective, whose time is limited
        self._writer.finish()

    def _write(self, snapshot: Snapshot, step: int, improved: bool) -> None:
        last, best, epoch = self.folder / "last.pt", self.folder / "best.pt", step // self.per_epoch
        keeps = self.keep_every and not step % self.per_epoch and not epoch % self.keep_every
        names = [self.folder / f"epoch-{epoch:04d}.pt"] if keeps else []
        # last.pt last: a run that is killed before takes these steps again, and measures and keeps them again
        names += [best, last] if improved else [last]
        remedy = f"check free space and write permission, then --resume auto continues{from_before(self.folder)}"
        with writing(last, remedy if last.exists() else "check free space and write permission, then start again"):
            if (log := self.folder / "log.jsonl").exists():
                sync(log)  # the lines up to this step, which a resumed run does not write again
            with atomic(names[0]) as file:  # a killed run leaves the previous checkpoint whole
                save(snapshot.wait(), file)
            for name in names[1:]:
                link(names[0], name)

    def _content(self, step: int) -> dict[str, Any]:
        return {
            "step": step,
            "per_epoch": self.per_epoch,
            "method": self.state.method.state_dict(),
            "optimizer": self.state.optimizer.state_dict(),
            "scaler": self.state.scaler.state_dict(),
            "best": self.best,
            "measured": self._measured,
            "world": world_size(),
            "threads": torch.get_num_threads(),
            "versions": self._versions,
            **({"probe": self.probe.state_dict()} if self.probe else {}),
            **self.metadata,
        }

    def resume(
        self, path: Path, objection: Callable[[int, int], str] = lambda *_: "its schedule was made for them"
    ) -> int:
        """Load a checkpoint and return its number of steps.

        `objection(epochs, step)`: why a run of that many epochs, after `step` steps, cannot go on for those of this;
        empty if it can. UserError if the checkpoint is of another recipe or data set, or if the ranks read
        different ones.
        """
        saved = read(path)
        require_same_recipe(path, saved["recipe"], self.metadata["recipe"], lambda was: objection(was, saved["step"]))
        for name in ("data", "val"):
            require_same_set(path, name, saved.get(name), self.metadata.get(name, {}))
        require_same_start(path, saved.get("start"), self.metadata.get("start", {}))
        same: dict[str, Any] = {"start": saved.get("start"), "val": saved.get("val") or self.metadata.get("val")}
        self.metadata = self.metadata | same  # a command that names no --pretrained or --val erases neither
        self._versions = kept(path, saved)
        note_longer_epochs(path, saved, self.metadata["recipe"])
        note_older_rules(path, saved, self.state.method)
        note_other_decoder(path, saved.get("decode"), self.metadata.get("decode", "cpu"))
        load_all(self.state.method, saved["method"], path)
        try:
            load_optimizer(self.state.optimizer, self.state.scaler, saved)
            if self.probe:  # a run may begin to train one along at any time
                self.probe.load_state_dict(saved.get("probe", {}), self.state.device)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise UserError(f"{path} has another optimizer ({error}): start again with another --out") from error
        if path.resolve().parent == self.folder.resolve():  # else its best.pt is in another folder
            self.best = saved["best"]
        self._measured = saved.get("measured", saved["step"])  # older checkpoints do not say
        self.threads = saved["threads"]
        if saved["world"] != (now := world_size()):
            note(f"saved with world {saved['world']}, now {now}: same ids and draws, losses equal to rounding only")
        steps = gather(torch.tensor([saved["step"]], device=self.state.device))
        if (steps != steps[0]).any():
            raise UserError(
                f"the ranks read different checkpoints at {path} (steps {steps.tolist()}): share the folder"
            )
        return saved["step"]
