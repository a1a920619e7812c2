"""The loader: plan -> draws -> executor -> device -> renderer. Every door comes through here."""

import os
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from contextlib import closing
from typing import NamedTuple

import numpy as np
import torch

from ..augment import device as device_renderer
from ..augment import host as host_renderer
from ..augment.crops import cuts, on_device, rest
from ..augment.draw import draw
from ..augment.spec import Views, check, size_of
from ..shards.engine import cores
from ..shards.errors import UserError
from ..shards.manifest import Manifest
from .batch import Batch, Door
from .copy import Host, ahead, side_stream
from .executor import Executor
from .order import Plan

AHEAD = 2  # batches in the making while one is consumed


class Made(NamedTuple):
    """A batch on its way: the host tensors and the tasks that still fill them."""

    host: Host
    tasks: list[Future[None]]


class Stream:
    """A Loader over any door; `threads` (0: all cores) decode and cut. In flight: AHEAD + 1 batches of uint8 views."""

    def __init__(
        self,
        manifest: Manifest,
        plan: Plan,
        views: Views,
        door: Door,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        threads: int = 0,
    ):
        if plan.samples > len(manifest):
            raise UserError(
                f"the plan orders {plan.samples} samples, {manifest.info.name} holds {len(manifest)}: "
                "make the plan from len(manifest)"
            )
        self.manifest, self.plan, self.views = manifest, plan, check(views)
        self.device, self.dtype = torch.device(device), dtype
        self.door, self.side = door, side_stream(self.device)
        self.sizes = [size_of(view) for view in views]
        self.executor = Executor(door, manifest, self.sizes, threads or share_of_cores())

    def __len__(self) -> int:
        return len(self.plan)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches `start`.. of epoch `number`, on the device, rendered."""
        with closing(self.host_batches(number, start)) as batches:
            for host in ahead(batches, self.side):
                yield self._render(host)

    def close(self) -> None:
        """End the threads and close the files."""
        self.executor.close()
        self.door.close()

    def host_batches(self, number: int, start: int = 0) -> Generator[Host, None, None]:
        """What `epoch` renders: uint8 cuts on the host, with the parameters of what is still to be done."""
        making: deque[Made] = deque()
        try:
            for ids in self.plan.ids(number, start):
                making.append(self._make(ids, number))
                if len(making) > AHEAD:
                    yield self._finish(making.popleft())
            while making:
                yield self._finish(making.popleft())
        finally:  # an early break or an error: let the threads go before their buffers do
            for made in making:
                for task in made.tasks:
                    task.cancel()
            for made in making:
                for task in made.tasks:
                    if not task.cancelled():
                        task.exception()

    def _make(self, ids: np.ndarray, epoch: int) -> Made:
        uid, hw = self.manifest.uid[ids], self.manifest.hw[ids]
        boxes, packed = [], []
        for i, view in enumerate(self.views):
            draws = draw(view, uid, hw, seed=self.plan.seed, epoch=epoch, number=i)
            boxes.append(cuts(view, draws, hw))
            packed.append(device_renderer.pack(rest(view, draws), len(ids)))
        length, pinned = self.executor.bytes_for(len(ids)), self.device.type == "cuda"
        pixels = torch.empty(length, dtype=torch.uint8, pin_memory=pinned)
        tasks = self.executor.submit(ids, np.stack(boxes, axis=1), pixels.numpy())
        target = torch.from_numpy(self.manifest.label[ids].astype(np.int64))
        return Made(Host(pixels, tuple(map(torch.from_numpy, packed)), target, torch.from_numpy(ids)), tasks)

    @staticmethod
    def _finish(made: Made) -> Host:
        Executor.gather(made.tasks)
        return made.host

    def _render(self, host: Host) -> Batch:
        n = len(host.index)
        render = host_renderer.render if self.device.type == "cpu" else device_renderer.render
        blocks = host.pixels.split([3 * s * s * n for s in self.sizes])
        views = tuple(
            render(on_device(view), block.view(n, s, s, 3), packed, self.dtype)
            for view, block, s, packed in zip(self.views, blocks, self.sizes, host.packed, strict=True)
        )
        return Batch(views, host.target, host.index)


def share_of_cores() -> int:
    """Cores for this process: those it may use, shared with the other ranks of this machine."""
    return max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
