"""What a run says: a JSON line and the progress bar's tail every few steps; the one place that syncs the device."""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from tqdm import tqdm

from ..shards.errors import UserError
from .ranks import rank, world


class Log:
    """Averages what happened since the last line; `wait` is the share of time that steps waited for data."""

    def __init__(self, path: Path, *, done: int, total: int, batch: int, every: int):
        self.every, self.batch = every, batch
        self._begin()
        self._file = path.open("a", buffering=1) if not rank() else None
        often = 0.2 if sys.stderr.isatty() else 10.0  # seconds between updates; a file wants fewer lines than an eye
        self._bar = tqdm(total=total, initial=done, unit="step", disable=bool(rank()), smoothing=0.1, mininterval=often)

    def step(
        self, step: int, epoch: int, lr: float, loss: Tensor, stats: dict[str, Tensor], *, write: bool = False
    ) -> None:
        """After each optimiser step; `step` counts from 1. `write`: a line now, whatever the interval; what it says is
        finite, so a checkpoint may follow."""
        self.steps += 1
        self._bar.update(1)
        self._sum = torch.stack([v.detach().float() for v in (loss, *stats.values())]) + self._sum
        if step % self.every and not write:
            return
        total = self._sum
        if world() > 1:
            dist.all_reduce(total)
        means = (total / (world() * self.steps)).tolist()  # the one host sync of the interval
        if not math.isfinite(means[0]):
            raise UserError(
                f"the loss is {means[0]} by step {step} (epoch {epoch}, lr {lr:.3g}): lower --lr; "
                f"the last checkpoint is from before"
            )
        self._write(step, epoch, lr, dict(zip(("loss", *stats), means, strict=True)))

    def note(self, step: int, epoch: int, values: dict[str, float]) -> None:
        """A line of its own for what is measured between epochs; the time it took is not the steps'."""
        if values and self._file:
            self._file.write(json.dumps({"step": step, "epoch": epoch, **values}) + "\n")
            self._bar.write(f"epoch {epoch}: " + ", ".join(f"{k} {v:.4f}" for k, v in values.items()))
        if values:
            self._begin()

    def _begin(self) -> None:
        """A new interval."""
        self.waited, self.steps, self.since = 0.0, 0, time.perf_counter()
        self._sum: Tensor | float = 0.0

    def _write(self, step: int, epoch: int, lr: float, means: dict[str, float]) -> None:
        seconds = time.perf_counter() - self.since
        row: dict[str, Any] = {"step": step, "epoch": epoch, **means, "lr": lr}
        row |= {"img_s": self.steps * self.batch / seconds, "wait": self.waited / seconds}
        self._begin()
        if self._file:
            self._file.write(json.dumps(row) + "\n")
        self._bar.set_postfix_str(
            f"loss {row['loss']:.3f}, {row['img_s']:.0f} img/s, waiting for data {row['wait']:.0%}", refresh=False
        )

    def close(self) -> None:
        self._bar.close()
        if self._file:
            self._file.close()
