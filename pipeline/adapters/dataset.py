"""A map-style dataset and its batch sampler, for training loops on torch's `DataLoader`.

    dataset, batches = as_dataset(manifest, moco_v2(224), batch=256)
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=8)
    for epoch in range(200):
        for views, target, index in loader: ...

The sampler addresses a sample as (epoch, row), so workers need no state and views equal those of `ViewLoader`, which
is faster: its threads pickle nothing, and its views need no copy into a batch. Each pass over the sampler is of the
next epoch, or of the one that `batches.set_epoch` names. Other samplers ask for a row alone: then `dataset.set_epoch`
names the epoch.
"""

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import index, itemgetter
from typing import Any, SupportsIndex

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from ...augment.checks import check
from ...augment.crops import on_device
from ...augment.draw import fixed
from ...augment.renderers import host as host_renderer
from ...augment.renderers.user_ops import apply_user_ops
from ...augment.spec import Normalize, Views, size_of
from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ..choose import open_reader
from ..cut.resize import warm_up
from ..executor import Executor
from ..plan.order import Order, Plan, Tail
from ..plan.params import batch_params
from ..plan.versions import VERSION
from ..workers import share_of_cores
from .sampler import Address, Steps

# views, each [3, S, S] float32; class, -1 where unlabeled; manifest row; and with fields {suffix: bytes}, b"" = absent
Item = tuple[tuple[Tensor, ...], int, int] | tuple[tuple[Tensor, ...], int, int, dict[str, bytes]]


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
    fields: Sequence[str] = (),
    version: int = VERSION,
) -> tuple["Samples", Steps]:
    """A dataset and the batch sampler of this rank; `batch` is global, `loader` names a reader of `open_reader`, the
    other arguments are those of `Plan`. With `fields`, further members of tars, each item ends with {suffix: bytes}.

    UserError for an impossible plan or view, a format that was not built, and, while reading, a damaged sample.
    """
    if loader == "webdataset-stream":
        raise UserError(
            "webdataset-stream needs an epoch's order in advance, a DataLoader worker knows only its own batches: "
            "choose the loader webdataset, or open_loader in place of DataLoader"
        )
    plan = Plan(len(manifest), batch, world_size, rank, seed, tail, order, version=version)
    if fields and loader != "webdataset":
        raise UserError(
            f"--loader {loader} reads image and label only, fields are in tars: choose the loader webdataset"
        )
    return Samples(manifest, views, loader, seed, tuple(fields)), Steps(plan)


class Samples(Dataset[Item]):
    """(epoch, row) -> that sample's views, class and row. Each process opens its own files.

    A row alone is an index too, for views without randomness and after `set_epoch`.
    """

    def __init__(self, manifest: Manifest, views: Views, loader: str, seed: int, fields: tuple[str, ...] = ()):
        self.manifest, self.views, self.loader, self.seed = manifest, check(views), loader, seed
        self.fields = fields
        for name in fields:
            manifest.field(name)  # raises for one that the set does not have
        self._open: tuple[int, Executor] | None = None  # process id and its executor
        self._epoch: Tensor | None = None  # in memory that workers share
        self.executor()  # a set that cannot be opened fails here; kernels are compiled here, not in each worker
        warm_up()
        host_renderer.render((Normalize(),), torch.zeros(1, 1, 1, 3, dtype=torch.uint8), torch.zeros(1, 0))

    def __len__(self) -> int:
        return len(self.manifest)

    def set_epoch(self, epoch: int) -> None:
        """Show rows that are asked for alone as `epoch` does, in workers that run already too: call it before each
        epoch."""
        self._epoch = torch.zeros((), dtype=torch.int64) if self._epoch is None else self._epoch
        self._epoch.share_memory_().fill_(epoch)

    def __getitem__(self, at: Address | SupportsIndex) -> Item:
        return self.__getitems__([at])[0]

    def __getitems__(self, ats: Sequence[Address | SupportsIndex]) -> list[Item]:
        """A batch at once, as DataLoader asks for it; drawing for single samples would cost fifty times as much."""
        items: list[Item] = []
        for epoch, group in groupby(map(self._address, ats), itemgetter(0)):
            _, rows, occurrence = np.array([*group], np.int64).T
            items += self._rendered(epoch, rows, occurrence)
        return items

    def _address(self, at: Address | SupportsIndex) -> tuple[int, int, int]:
        if isinstance(at, tuple):
            return at if len(at) == 3 else (*at, 0)
        row = range(len(self))[index(at)]
        if self._epoch is None and not fixed(self.views):
            raise UserError(
                f"row {row} alone has no epoch, which its random views depend on: call dataset.set_epoch(n) before "
                "each epoch, or take the sampler of as_dataset, DataLoader(dataset, batch_sampler=steps)"
            )
        return 0 if self._epoch is None else int(self._epoch), row, 0

    def _rendered(self, epoch: int, rows: np.ndarray, occurrence: np.ndarray) -> Iterator[Item]:
        params = batch_params(self.manifest, self.views, rows, self.seed, epoch, occurrence)
        executor = self.executor()
        cropped = executor.crop_now(params, np.empty(executor.bytes_for(len(rows)), np.uint8))
        views = [
            apply_user_ops(view, host_renderer.render(on_device(view), pixels, packed), keys)
            for view, pixels, packed, keys in zip(
                self.views, cropped, params.packed, params.keys.unbind(1), strict=True
            )
        ]
        items = zip(zip(*views, strict=True), params.target.tolist(), rows.tolist(), strict=True)
        if not self.fields:
            return items
        reader: Any = executor.reader  # of tars, the only one with further members
        more = ({name: reader.read(row, name) for name in self.fields} for row in rows.tolist())
        return ((*item, members) for item, members in zip(items, more, strict=True))

    def executor(self) -> Executor:
        """This process's executor and reader, opened at first use; a DataLoader worker decodes with one thread."""
        if self._open is None or self._open[0] != os.getpid():
            threads = 1 if get_worker_info() else share_of_cores()
            reader = open_reader(self.loader, self.manifest)
            self._open = os.getpid(), Executor(reader, self.manifest, [size_of(view) for view in self.views], threads)
        return self._open[1]

    def close(self) -> None:
        """End this process's threads and close its files; the next sample opens them again."""
        if self._open is not None and self._open[0] == os.getpid():
            self._open[1].close()
            self._open[1].reader.close()
        self._open = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": None}
