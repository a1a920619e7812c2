"""Shards and recipes for other people's loops: a map-style dataset and its batch sampler, for a stock `DataLoader`.

    dataset, batches = as_dataset(manifest, moco_v2(224), batch=256)
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=8)
    for epoch in range(200):
        batches.set_epoch(epoch)
        for views, target, index in loader: ...

The sampler addresses a sample as (epoch, row), so workers need no state and the views are `ViewLoader`'s. `ViewLoader`
is the faster loader: its threads pickle nothing, and its views need no copy into a batch.
"""

import os
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler, get_worker_info

from ...augment.crops import on_device
from ...augment.renderers import host as host_renderer
from ...augment.spec import Normalize, Views, check, size_of
from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ..choose import open_reader
from ..cut.resize import warm_up
from ..executor import Executor
from ..plan.order import Order, Plan, Tail
from ..plan.params import BatchParams, batch_params
from ..workers import share_of_cores

Place = tuple[int, int]  # epoch, manifest row
Item = tuple[tuple[Tensor, ...], int, int]  # views, each [3, S, S] float32; class, -1 where unlabeled; manifest row


def as_dataset(
    manifest: Manifest,
    views: Views,
    *,
    batch: int,
    loader: str = "webdataset",
    world_size: int = 1,
    rank: int = 0,
    seed: int = 0,
    tail: Tail = "drop",
    order: Order | None = None,
) -> tuple["Samples", "Steps"]:
    """A dataset and the batch sampler of this rank; `batch` is global, the other words are `Plan`'s and
    `open_reader`'s.

    UserError for an impossible plan or view, a format that was not built, and, while reading, a damaged sample.
    """
    if loader == "webdataset-stream":
        raise UserError(
            "webdataset-stream is told an epoch's order beforehand, and a DataLoader's worker knows its own batches: "
            "choose the loader webdataset, or open_loader in place of DataLoader"
        )
    plan = Plan(len(manifest), batch, world_size, rank, seed, tail, order)
    return Samples(manifest, views, loader, seed), Steps(plan)


class Samples(Dataset[Item]):
    """(epoch, row) -> that sample's views, class and row. Each process opens the files for itself."""

    def __init__(self, manifest: Manifest, views: Views, loader: str, seed: int):
        self.manifest, self.views, self.loader, self.seed = manifest, check(views), loader, seed
        self._open: tuple[int, Executor] | None = None  # the process that opened it
        self.executor()  # what cannot be opened is said here, and kernels are compiled here, not by every worker
        warm_up()
        host_renderer.render((Normalize(),), torch.zeros(1, 1, 1, 3, dtype=torch.uint8), torch.zeros(1, 0))

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, place: Place) -> Item:
        return self.__getitems__([place])[0]

    def __getitems__(self, places: list[Place]) -> list[Item]:
        """A batch at once, as DataLoader asks for it: draws cost a fiftieth of what they cost one by one."""
        items: list[Item] = []
        for epoch, run in groupby(places, itemgetter(0)):
            items += self._rendered(epoch, np.array([row for _, row in run], np.int64))
        return items

    def _rendered(self, epoch: int, rows: np.ndarray) -> Iterator[Item]:
        what = batch_params(self.manifest, self.views, rows, self.seed, epoch)
        blocks = crop_now(self.executor(), what, np.empty(self.executor().bytes_for(len(rows)), np.uint8))
        views = [
            host_renderer.render(on_device(view), block, packed)
            for view, block, packed in zip(self.views, blocks, what.packed, strict=True)
        ]
        return zip(zip(*views, strict=True), what.target.tolist(), rows.tolist(), strict=True)

    def executor(self) -> Executor:
        """This process's reader, opened at first use; a DataLoader's worker decodes with one thread."""
        if self._open is None or self._open[0] != os.getpid():
            threads = 1 if get_worker_info() else share_of_cores()
            reader = open_reader(self.loader, self.manifest)
            self._open = os.getpid(), Executor(reader, self.manifest, [size_of(view) for view in self.views], threads)
        return self._open[1]

    def close(self) -> None:
        """End this process's threads and close its files; the next sample opens them anew."""
        if self._open is not None and self._open[0] == os.getpid():
            self._open[1].close()
            self._open[1].reader.close()
        self._open = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": None}


class Steps(Sampler[list[Place]]):
    """The batches of one rank, each a list of places. An empty one, with which `exact` may end, is left out."""

    def __init__(self, plan: Plan):
        self.plan, self.epoch, self.begun = plan, 0, (0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Go through `epoch` from now on."""
        self.epoch = epoch

    def resume(self, epoch: int, step: int) -> None:
        """Go on with `epoch` behind its first `step` batches; other epochs are whole."""
        self.epoch, self.begun = epoch, (epoch, step)

    @property
    def start(self) -> int:
        """The first step that the next pass will take."""
        return self.begun[1] if self.epoch == self.begun[0] else 0

    def __len__(self) -> int:
        plan, steps = self.plan, len(self.plan)
        if plan.tail == "exact":  # lower ranks come first
            steps = -(-(plan.positions - plan.rank * (plan.batch // plan.world_size)) // plan.batch)
        return max(0, steps - self.start)

    def __iter__(self) -> Iterator[list[Place]]:
        epoch = self.epoch
        some = (rows.tolist() for rows in self.plan.ids(epoch, self.start) if len(rows))
        yield from ([(epoch, row) for row in rows] for rows in some)


def crop_now(executor: Executor, what: BatchParams, pixels: np.ndarray) -> list[Tensor]:
    """Views of a batch, each [N, S, S, 3] uint8, cut into the flat `pixels` that they share; UserError as one fails."""
    if failed := executor.wait(executor.crop(what.rows, what.boxes, pixels)).failed:
        raise next(iter(failed.values()))
    n, sizes = len(what.rows), executor.sizes.tolist()
    blocks = torch.from_numpy(pixels).split([3 * s * s * n for s in sizes])
    return [block.view(n, s, s, 3) for block, s in zip(blocks, sizes, strict=True)]
