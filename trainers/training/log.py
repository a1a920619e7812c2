"""The log of a run: averages every few steps as a JSON line and on the progress bar; the only place that syncs the
device."""

import json
import logging
import math
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch
import torch.distributed as dist
from torch import Tensor

from ...pipeline.batch import Batch
from ...pipeline.timing import Times
from ...shards.files import atomic, make_folder, sync, writing
from ...shards.progress import Bar
from ...shards.unpack import parsed_json
from ..checkpoints.files import from_before
from ..marks import progress
from ..ranks import rank, world_size
from .failure import Taken
from .loggers import MetricLogger
from .sheet import Sheet

LOG = logging.getLogger(__name__)


class Log:
    """Averages the steps since the last line. Every rank writes rank-N.log; rank 0 writes the averages over all ranks
    to log.jsonl, to `loggers` and to the progress bar.

    `steps`: range(steps already taken, total); `batch` is global; `every`: steps between lines; `times` of the loader,
    of which a line has the milliseconds per sample of each stage; `sheet` makes of a batch the image that loggers get.
    `wait` of a line is the share of time that steps waited for data: add it to `waited`; `waited_before` are the
    seconds of earlier lines. A signal handler may set `stop` on any rank; after the next line `stopped` is set on all
    ranks.
    """

    def __init__(
        self,
        folder: Path,
        steps: range,
        *,
        batch: int,
        every: int,
        loggers: tuple[MetricLogger, ...] = (),
        times: Times | None = None,
        sheet: Sheet | None = None,
    ):
        self.folder, self.every, self.batch, self.stop, self.stopped = folder, every, batch, False, False
        self.failed = False
        with writing(folder):
            make_folder(folder)  # of a rank on another machine
            self._own = _lines(folder / f"rank-{rank()}.log")
            if cut := 0 if rank() else _cut_back(folder / "log.jsonl", steps.start):
                self.say(f"{cut} lines of log.jsonl are cut: steps after {steps.start} are taken again")
            self._file = None if rank() else _lines(folder / "log.jsonl")
            sync(folder)
        self._loggers = () if rank() else loggers
        self._sheet = None if steps.start else sheet  # a run that goes on has shown its first batch
        self.waited = self.waited_before = 0.0
        self._times, self._before = times, Times()
        self._begin_interval()
        self.say(f"from step {steps.start} of {steps.stop}, rank {rank()} of {world_size()}")
        self._bar = Bar(steps.stop, "step", done=steps.start, quiet=bool(rank()))

    def say(self, text: str) -> None:
        """Write a line into this rank's own file."""
        self._append(self._own, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}")

    def step(self, step: int, epoch: int, lr: float, taken: Taken, *, write: bool = False) -> None:
        """Count an optimizer step, numbered from 1; write a line every `every` steps, and always if `write`.

        If a loss or gradient of `interval` is not finite on some rank, `failed` is set on all, and no line is written.
        So a checkpoint may follow a line.
        """
        self._count(taken)
        if step % self.every and not write:
            return
        progress.at(f"the log line of step {step}, which waits for the device and all ranks")
        means = self._average(("loss", *taken.stats, "gradient"))
        self.failed = not math.isfinite(means["loss"] + means.pop("gradient"))
        if self.failed:
            return
        self._write(step, epoch, lr, means)
        self._begin_interval()

    def note(self, step: int, epoch: int, values: dict[str, float]) -> None:
        """Write a separate line for `values` measured between epochs; the time since the last line is not counted."""
        if self._file:
            self._append(
                self._file, json.dumps({"step": step, "epoch": epoch, "time": round(time.time(), 2), **values})
            )
            LOG.info(f"epoch {epoch}: " + ", ".join(f"{k} {v:.4f}" for k, v in values.items()))
        self._send(step, values)
        self._begin_interval()

    def show(self, batch: Batch) -> None:
        """Give loggers a sheet of the views of the run's first batch; later ones are passed over."""
        if self._sheet and self._loggers:
            page, self._sheet = self._sheet(batch), None
            with writing(self.folder):
                for logger in self._loggers:
                    logger.show("views", page)

    def _stages(self) -> dict[str, float]:
        """Milliseconds of the loader per sample since the last line, by stage."""
        if self._times is None:
            return {}
        new = Times(self._times)
        new.subtract(self._before)
        self._before = Times(self._times)
        return {f"{stage}_ms": round(ms, 4) for stage, ms in new.each().items()}

    def close(self) -> None:
        self._bar.close()
        failed = sys.exception() is not None
        for part in (self._own, *self._loggers, *((self._file,) if self._file else ())):
            # after an error this may be of the line that could not be written
            with suppress(OSError) if failed else writing(self.folder):
                part.close()

    def _append(self, file: IO[str], line: str) -> None:
        with writing(Path(file.name), f"check free space and write permission{from_before(self.folder)}"):
            file.write(line + "\n")

    def _send(self, step: int, values: dict[str, float]) -> None:
        with writing(self.folder):
            for logger in self._loggers:
                logger.write(step, values)

    def _begin_interval(self) -> None:
        self.waited_before += self.waited
        self.waited, self.steps, self.since = 0.0, 0, time.perf_counter()
        self._sum: Tensor | float = 0.0
        self.interval: list[Taken] = []  # the steps since the last line

    def _count(self, taken: Taken) -> None:
        """Add a step's scalars to the sums of the interval, on the device."""
        self.interval.append(taken._replace(stats={}))  # which may hold what a backward needs
        values = (taken.loss, *taken.stats.values(), taken.gradient)
        self.steps += 1
        self._bar.update(1)
        self._sum = torch.stack([v.detach().float() for v in values]) + self._sum

    def _average(self, names: tuple[str, ...]) -> dict[str, float]:
        """Averages of the interval over steps and ranks, by name; also spreads `stop` to all ranks."""
        assert isinstance(self._sum, Tensor)
        total = torch.cat([self._sum, self._sum.new_full((1,), float(self.stop))])
        if world_size() > 1:
            dist.all_reduce(total)
        *sums, stop = total.tolist()  # the one host sync of the interval
        self.stopped = stop > 0
        return dict(zip(names, (s / (world_size() * self.steps) for s in sums), strict=True))

    def _write(self, step: int, epoch: int, lr: float, means: dict[str, float]) -> None:
        seconds = time.perf_counter() - self.since
        row: dict[str, Any] = {"step": step, "epoch": epoch, "time": round(time.time(), 2), **means, "lr": lr}
        row |= {"img_s": self.steps * self.batch / seconds, "wait": self.waited / seconds} | self._stages()
        self.say(f"step {step}, epoch {epoch}, {row['img_s']:.0f} img/s, this rank waited {row['wait']:.0%} for data")
        if self._file:
            self._append(self._file, json.dumps(row))
        self._send(step, {k: v for k, v in row.items() if k not in ("step", "time")})
        self._bar.set_postfix_str(
            f"loss {row['loss']:.3f}, {row['img_s']:.0f} img/s, waiting for data {row['wait']:.0%}", refresh=False
        )


def _cut_back(path: Path, step: int) -> int:
    """Drop the lines of steps after `step` from a log, and what is no line; how many. A run that was killed has taken
    more steps than its checkpoint; the lines of evaluations, which have no step, stay."""
    if not path.exists():
        return 0
    with atomic(path) as file, path.open("rb") as old:
        lines = list(old)
        kept = [line for line in lines if _step(line) <= step]
        file.writelines(kept)
    return len(lines) - len(kept)


def _step(line: bytes) -> float:
    """The step of a line, -inf without one; inf for one that is damaged, or that a full disk or a killed run has left
    unfinished."""
    try:
        row = parsed_json(line)
    except ValueError:
        return math.inf
    step = row.get("step", -math.inf) if isinstance(row, dict) else math.inf
    return step if isinstance(step, int | float) else math.inf


def _lines(path: Path) -> IO[str]:
    """A file to append lines to, without the half line that a full disk or a killed run has left at its end."""
    file = path.open("a+b")
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
    file.close()
    return path.open("a", buffering=1)
