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

from ...shards.errors import UserError
from ..ranks import rank, world_size
from .loggers import MetricLogger


class Log:
    """Averages what happened since the last line; `wait` is the share of time that steps waited for data.

    Every rank writes what it saw to rank-N.log, rank 0 the averages to log.jsonl and to `writers`. `stop`, which a
    signal handler may set, becomes `stopped` on all ranks at the next line: one of them may have got the signal first.
    """

    def __init__(
        self, folder: Path, *, done: int, total: int, batch: int, every: int, writers: tuple[MetricLogger, ...] = ()
    ):  # fmt: skip
        self.every, self.batch, self.stop, self.stopped = every, batch, False, False
        self._writers = writers if not rank() else ()
        self._begin()
        folder.mkdir(parents=True, exist_ok=True)
        self._own = (folder / f"rank-{rank()}.log").open("a", buffering=1)
        self._file = (folder / "log.jsonl").open("a", buffering=1) if not rank() else None
        often = 0.2 if sys.stderr.isatty() else 10.0  # seconds between updates; a file wants fewer lines than an eye
        self._bar = tqdm(total=total, initial=done, unit="step", disable=bool(rank()), smoothing=0.1, mininterval=often)
        self.say(f"from step {done} of {total}, rank {rank()} of {world_size()}")

    def say(self, text: str) -> None:
        """A line in this rank's own file."""
        self._own.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def step(
        self, step: int, epoch: int, lr: float, loss: Tensor, stats: dict[str, Tensor], *, write: bool = False
    ) -> None:
        """After each optimizer step; `step` counts from 1. `write`: a line now, whatever the interval; what it says is
        finite, so a checkpoint may follow."""
        self.steps += 1
        self._bar.update(1)
        self._sum = torch.stack([v.detach().float() for v in (loss, *stats.values())]) + self._sum
        if step % self.every and not write:
            return
        total = torch.cat([self._sum, self._sum.new_full((1,), float(self.stop))])
        if world_size() > 1:
            dist.all_reduce(total)
        *sums, stop = total.tolist()  # the one host sync of the interval
        means = dict(zip(("loss", *stats), (s / (world_size() * self.steps) for s in sums), strict=True))
        self.stopped = stop > 0
        if not math.isfinite(means["loss"]):
            raise UserError(
                f"the loss is {means['loss']} by step {step} (epoch {epoch}, lr {lr:.3g}): lower --lr; "
                f"the last checkpoint is from before"
            )
        self._write(step, epoch, lr, means)

    def note(self, step: int, epoch: int, values: dict[str, float]) -> None:
        """A line of its own for what is measured between epochs; the time it took is not the steps'."""
        if not values:
            return
        if self._file:
            self._file.write(json.dumps({"step": step, "epoch": epoch, **values}) + "\n")
            self._bar.write(f"epoch {epoch}: " + ", ".join(f"{k} {v:.4f}" for k, v in values.items()))
        for writer in self._writers:
            writer.write(step, values)
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
        self.say(f"step {step}, epoch {epoch}, {row['img_s']:.0f} img/s, this rank waited {row['wait']:.0%} for data")
        if self._file:
            self._file.write(json.dumps(row) + "\n")
        for writer in self._writers:
            writer.write(step, {k: v for k, v in row.items() if k != "step"})
        self._bar.set_postfix_str(
            f"loss {row['loss']:.3f}, {row['img_s']:.0f} img/s, waiting for data {row['wait']:.0%}", refresh=False
        )

    def close(self) -> None:
        self._bar.close()
        self._own.close()
        for writer in self._writers:
            writer.close()
        if self._file:
            self._file.close()
