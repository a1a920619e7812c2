"""The loader: plan -> draws -> executor -> device -> renderer. Every reader but DALI's comes through here."""

import sys
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..augment.crops import on_device
from ..augment.renderers import device as device_renderer
from ..augment.renderers import host as host_renderer
from ..augment.renderers import resample
from ..augment.spec import Views, check, size_of
from ..shards.manifest import Manifest
from .batch import Batch, SampleReader
from .copy import Host, ahead, side_stream
from .cut.resize import warm_up
from .executor import Executor, Task
from .plan.order import Plan
from .plan.params import BatchParams, batch_params, batch_params_ahead, replacements
from .timing import Times
from .workers import share_of_cores

AHEAD = 2  # batches in the making while one is consumed
TRIES = 10  # replacements in turn before a damaged sample ends the epoch after all
FEW_CORES = 12  # of a GPU's process: with fewer, `auto` leaves the crops to the GPU
Crops = Literal["auto", "host", "device"]


class Made(NamedTuple):
    """A batch on its way: the host tensors, the tasks that still fill them, and the memory of the pixels."""

    host: Host
    tasks: list[Task]
    room: Tensor


class ViewLoader:
    """A Loader over any reader. In flight: AHEAD + 1 batches of uint8 views, or of whole images where the device crops.

    `threads` 0: the number that pays is found in the first seconds. `skip`: a damaged sample is replaced by a keyed
    other one, the same through every reader, and counted in `skipped`; an exact plan never replaces.
    `crops`: who cuts; `device` spares a host that is short of cores (pixels within 1 level of the host's).
    """

    def __init__(
        self,
        manifest: Manifest,
        plan: Plan,
        views: Views,
        reader: SampleReader,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        threads: int = 0,
        crops: Crops = "auto",
        skip: bool = False,
    ):
        plan.fit(len(manifest), manifest.info.name)
        self.manifest, self.plan, self.views = manifest, plan, check(views)
        self.device, self.dtype = torch.device(device), dtype
        self.reader, self.side = reader, side_stream(self.device)
        self.sizes = [size_of(view) for view in views]
        self.crop_on_device = crops == "device" or (
            crops == "auto" and self.device.type == "cuda" and share_of_cores() < FEW_CORES
        )
        self.skip, self.skipped = skip and plan.tail != "exact", dict[int, str]()
        self.times, self._spare = Times(), list[Tensor]()
        warm_up()
        self.executor = Executor(reader, manifest, self.sizes, threads)

    def __len__(self) -> int:
        return len(self.plan)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches `start`.. of epoch `number`, on the device, rendered."""
        with closing(self.host_batches(number, start)) as batches:
            for host in ahead(batches, self.side, self.times):
                with self.times.spent("render"):
                    batch = self._render(host)
                yield batch

    def batch(self, rows: np.ndarray, epoch: int) -> Batch:
        """Samples `rows` [N] as an epoch shows them, whatever its order."""
        self.reader.prefetch(rows)
        made = self._make(batch_params(self.manifest, self.views, rows, self.plan.seed, epoch))
        (host,) = ahead(iter([self._finish(made, epoch).host]), self.side, self.times)
        return self._render(host)

    def close(self) -> None:
        """End the threads and close the files."""
        self.executor.close()
        self.reader.close()

    def host_batches(self, number: int, start: int = 0) -> Generator[Host, None, None]:
        """What `epoch` renders: uint8 pixels on the host, with the parameters of what is still to be done. On a CPU
        pixels are valid until the next batch is asked for: fresh memory would cost a tenth of the time."""
        steps = list(self.plan.ids(number, start))
        self.reader.prefetch(np.concatenate([*steps, np.empty(0, np.int64)]))
        coming = batch_params_ahead(self.manifest, self.views, steps, self.plan.seed, number)
        making: deque[Made] = deque()
        try:
            for _ in range(len(steps) + AHEAD):
                if (what := self._next(coming)) is not None:
                    making.append(self._make(what))
                if len(making) > AHEAD or (what is None and making):
                    made = self._finish(making.popleft(), number)
                    try:
                        yield made.host
                    finally:
                        self._give_back(made)
        finally:  # an early break or an error: let the threads go before their buffers do
            for made in making:
                for task in made.tasks:
                    task.cancel()
            for made in making:
                for task in made.tasks:
                    if not task.cancelled():
                        task.exception()
                self._give_back(made)

    def _next(self, coming: Iterator[BatchParams]) -> BatchParams | None:
        with self.times.spent("draw"):
            return next(coming, None)

    def _make(self, what: BatchParams) -> Made:
        hw = self.manifest.hw[what.rows]
        length = (
            int(3 * hw.astype(np.int64).prod(axis=1).sum()) if self.crop_on_device else self.executor.bytes_for(len(hw))
        )
        room = self._room(length)
        pixels, index = room[:length], torch.from_numpy(what.rows)
        boxes = torch.from_numpy(what.boxes if self.crop_on_device else what.boxes[:0])
        host = Host(pixels, boxes, what.packed, what.target, index, hw)
        if self.crop_on_device:
            return Made(host, self.executor.decode(what.rows, pixels.numpy()), room)
        return Made(host, self.executor.crop(what.rows, what.boxes, pixels.numpy()), room)

    def _give_back(self, made: Made) -> None:
        if self.device.type == "cpu":  # a GPU's copy may still be under way, and torch keeps pinned memory anyway
            self._spare.append(made.room)

    def _room(self, length: int) -> Tensor:
        """Memory for `length` bytes: some that was used before, if it is large enough."""
        while self._spare:
            if len(room := self._spare.pop()) >= length:
                return room
        more = length // 8 if self.crop_on_device else 0  # sizes differ from batch to batch
        return torch.empty(length + more, dtype=torch.uint8, pin_memory=self.device.type == "cuda")

    def _finish(self, made: Made, epoch: int) -> Made:
        for tries in range(TRIES + 1):
            with self.times.spent("wait"):
                spent, failed = self.executor.wait(made.tasks)
            for stage, seconds in zip(("read", "decode", "cut"), spent, strict=True):
                self.times[stage] += seconds  # pyright: ignore
            if not failed:
                break
            if not self.skip or tries == TRIES:
                raise next(iter(failed.values()))
            rows = made.host.index.numpy()
            self._count_skipped({int(rows[at]): str(error) for at, error in failed.items()})
            rows = replacements(self.manifest, rows, [*failed], self.plan.seed, epoch, tries)
            made = self._make(batch_params(self.manifest, self.views, rows, self.plan.seed, epoch))
        n = len(made.host.index)
        self.times["samples"] += n
        self.executor.workers.done(n)
        return made

    def _count_skipped(self, failed: dict[int, str]) -> None:
        for row, why in failed.items():
            if row not in self.skipped:
                print(f"skipped: {why}", file=sys.stderr)
            self.skipped[row] = why

    def _render(self, host: Host) -> Batch:
        n = len(host.index)
        render = host_renderer.render if self.device.type == "cpu" else device_renderer.render
        if self.crop_on_device:
            blocks = self._crop_on_device(host)
        else:
            flat = host.pixels.split([3 * s * s * n for s in self.sizes])
            blocks = [x.view(n, s, s, 3) for x, s in zip(flat, self.sizes, strict=True)]
        views = tuple(
            render(on_device(view), block, packed, self.dtype)
            for view, block, packed in zip(self.views, blocks, host.packed, strict=True)
        )
        return Batch(views, host.target, host.index)

    def _crop_on_device(self, host: Host) -> list[Tensor]:
        """Each view [N, S, S, 3] uint8, cut on the device; half precision costs it a level."""
        half = torch.float16 if self.device.type == "cuda" else torch.float32
        blocks = [host.pixels.new_empty(len(host.index), s, s, 3) for s in self.sizes]
        for part, canvas in resample.unpack(host.pixels, host.hw):
            for v, block in enumerate(blocks):
                block[part] = resample.resized_crop(canvas, host.boxes[part, v], block.shape[1], half)
        return blocks
