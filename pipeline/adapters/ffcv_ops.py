"""Our draws inside ffcv's own `Loader`, for people with pipelines of their own for other fields or behind our views.

    stages = pipelines(manifest, moco_v2(224), plan)
    loader = Loader(str(manifest.beton_path()), batch_size=256, order=stages.order, pipelines=stages.pipelines)
    for label, row, view0, view1 in loader: ...

Each sample is decoded once, exactly, and cut by the drawn boxes: the pixels of our own ffcv reader. A jitted decoder
hands on sample numbers; the work is done in the Python stage behind it, by `num_workers` threads. So what you append
to `stages.pipelines["view0"].transforms` must not be jitted: ffcv's `ToTensor`, `ToDevice` and `ToTorchImage` are not.
As ever with ffcv, batches lie in a ring of buffers: clone what you keep.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from ...augment.crops import on_device
from ...augment.renderers.host import render
from ...augment.spec import Views, check, size_of
from ...shards.errors import UserError, needs
from ...shards.formats.beton import JPEG
from ...shards.manifest import Manifest
from ..batch import SampleReader
from ..executor import Executor
from ..plan.order import Plan
from ..plan.params import batch_params
from .dataset import crop_now
from .ffcv_loader import Order, forward_errors

Operation: Any = needs("ffcv.pipeline.operation").Operation
Memory: Any = needs("ffcv.pipeline.allocation_query").AllocationQuery
PipelineSpec: Any = needs("ffcv.pipeline").PipelineSpec
BYTE, NUMBER = np.dtype("u1"), np.dtype("i8")


class Stages(NamedTuple):
    """What a Loader is made with."""

    pipelines: dict[str, Any]  # the image field -> None; `row`, `view0`, `view1`, ... -> PipelineSpec
    order: Order


def pipelines(manifest: Manifest, views: Views, plan: Plan, *, floats: bool = False, field: str = "image") -> Stages:
    """Outputs `row`, a tensor [N] int64 of manifest rows, and `view0`.. [N, S, S, 3] uint8, arrays of one Loader.

    With `floats` the views are rendered on the host: tensors [N, 3, S, S] float32. UserError when file, plan and Loader
    do not fit each other; a damaged sample is a UserError that names it, raised where its batch was due.
    """
    manifest.require("ffcv")
    if twins := len(manifest) - len(np.unique(manifest.beton)):  # ffcv goes by numbers, and could not tell them apart
        raise UserError(f"{twins} samples of {manifest.root} have another's number in the .beton: build a set without")
    cut = _Cut(manifest, check(views), plan.seed, floats)
    first = PipelineSpec(field, decoder=_Hand(), transforms=[cut, _Pick(0, (), torch.int64)])
    others: dict[str, Any] = {}
    for i, s in enumerate(map(size_of, views)):
        pick = _Pick(i + 1, (3, s, s), torch.float32) if floats else _Pick(i + 1, (s, s, 3), BYTE)
        others[f"view{i}"] = PipelineSpec(cut, transforms=[pick])
    return Stages({field: None, "row": first, **others}, Order(manifest, plan, field))


class _Hand(Operation):
    """The decoder, which ffcv wants jitted: sample numbers [N, 1]."""

    def declare_state_and_memory(self, before: Any) -> tuple[Any, Any]:
        return replace(before, jit_mode=True, shape=(1,), dtype=NUMBER), Memory((1,), NUMBER)

    def generate_code(self) -> Callable[..., Any]:
        def hand(numbers: Any, out: Any, metadata: Any, storage: Any) -> Any:
            for i in range(len(numbers)):
                out[i, 0] = numbers[i]
            return out[: len(numbers)]

        return hand


class _Cut(Operation, SampleReader):
    """Sample numbers [N, 1] -> (rows, view 0, view 1, ...). It is its executor's reader, to what ffcv has in memory;
    ffcv's memory managers prefetch the pages and own the file."""

    def __init__(self, manifest: Manifest, views: Views, seed: int, floats: bool):
        super().__init__()
        self.manifest, self.views, self.seed, self.floats = manifest, views, seed, floats
        self.row = np.zeros(manifest.beton.max() + 1, np.int64)
        self.row[manifest.beton] = np.arange(len(manifest))
        self.length = sum(3 * size_of(view) ** 2 for view in views)
        self.lock = threading.Lock()
        self.executor: Executor | None = None
        self.storage: Any = None  # of the epoch whose batch is cut

    def declare_state_and_memory(self, before: Any) -> tuple[Any, Any]:
        return replace(before, jit_mode=False, shape=(self.length,), dtype=BYTE), Memory((self.length,), BYTE)

    def generate_code(self) -> Callable[..., Any]:
        return forward_errors(self.cut)

    def cut(self, numbers: np.ndarray, memory: np.ndarray) -> tuple[Tensor, ...]:
        running: Any = threading.current_thread()  # ffcv's: one an epoch
        what = batch_params(self.manifest, self.views, self.row[numbers[:, 0]], self.seed, running.order.epoch)
        with self.lock:
            if self.executor is None:
                sizes = [size_of(view) for view in self.views]
                self.executor = Executor(self, self.manifest, sizes, running.loader.num_workers)
            self.storage = running.storage_state
            blocks = crop_now(self.executor, what, memory.reshape(-1))
        if self.floats:
            ops = map(on_device, self.views)
            blocks = [render(*one) for one in zip(ops, blocks, what.packed, strict=True)]
        return torch.from_numpy(what.rows), *blocks

    def read(self, row: int) -> bytes | np.ndarray:
        """A JPEG where it lies: it is the decoder, which holds no lock, that waits for a page to come from the disk."""
        picture = self.metadata[self.manifest.beton[row]]
        data = self.memory_read(picture["data_ptr"], self.storage)
        if picture["mode"] == JPEG:
            return cast(bytes, data.data)
        return data.reshape(picture["height"], picture["width"], 3)

    def locate(self, row: int) -> str:
        return f"{self.manifest.beton_path()}, its sample {self.manifest.beton[row]}"


class _Pick(Operation):
    """One output of the cut: arrays as bytes, since ffcv's stages take those; else tensors."""

    def __init__(self, at: int, shape: tuple[int, ...], dtype: np.dtype[Any] | torch.dtype):
        super().__init__()
        self.at, self.shape, self.dtype = at, shape, dtype

    def declare_state_and_memory(self, before: Any) -> tuple[Any, Any]:
        return replace(before, jit_mode=False, shape=self.shape, dtype=self.dtype), None

    def generate_code(self) -> Callable[..., Any]:
        return lambda outputs, _: outputs[self.at].numpy() if self.dtype == BYTE else outputs[self.at]
