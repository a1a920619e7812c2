"""Our views inside ffcv's own `Loader`, beside pipelines for other fields or before further stages.

    stages = pipelines(manifest, moco_v2(224), plan)
    loader = Loader(str(manifest.beton_path()), batch_size=256, order=stages.order, pipelines=stages.pipelines)
    for label, row, view0, view1 in loader: ...

Each sample is decoded once and cropped by the drawn boxes, so pixels equal those of our own ffcv reader. A jitted
decoder passes on sample numbers; the Python stage after it does the work, on `num_workers` threads. So stages appended
to `stages.pipelines["view0"].transforms` must not be jitted: ffcv's `ToTensor`, `ToDevice` and `ToTorchImage` are not.
ffcv reuses a ring of buffers for its batches: clone what you keep.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from ...augment.checks import check
from ...augment.crops import on_device
from ...augment.renderers.host import threaded
from ...augment.renderers.user_ops import apply_user_ops
from ...augment.spec import Views, size_of, user_ops
from ...shards.errors import UserError, needs
from ...shards.formats.beton import JPEG
from ...shards.manifest import Manifest
from ..batch import SampleReader
from ..executor import Executor
from ..plan.order import Plan
from ..plan.params import batch_params
from ..workers import share_of_cores
from .ffcv_loader import Order, forward_errors

Operation: Any = needs("ffcv.pipeline.operation").Operation
Memory: Any = needs("ffcv.pipeline.allocation_query").AllocationQuery
PipelineSpec: Any = needs("ffcv.pipeline").PipelineSpec
BYTE, NUMBER = np.dtype("u1"), np.dtype("i8")


class Stages(NamedTuple):
    """The arguments of a Loader."""

    pipelines: dict[str, Any]  # the image field -> None; `row`, `view0`, `view1`, ... -> PipelineSpec
    order: Order


def pipelines(manifest: Manifest, views: Views, plan: Plan, *, floats: bool = False, field: str = "image") -> Stages:
    """Stages for one Loader, with outputs `row`, a tensor [N] int64 of manifest rows, and `view0`, `view1`, ..., arrays
    [N, S, S, 3] uint8.

    With `floats` the views are rendered on the host: tensors [N, 3, S, S] float32. UserError if file, plan and Loader
    do not fit each other; a damaged sample is a UserError that names it, raised in place of its batch.
    """
    manifest.require("ffcv")
    if not floats and any(map(user_ops, views)):
        raise UserError("an op of your own works on normalized floats: make the pipelines with floats=True")
    if shared := len(manifest) - len(np.unique(manifest.beton)):
        raise UserError(
            f"{shared} samples of {manifest.root} share a number in the .beton with others, and ffcv finds samples by "
            "number: build a set without them"
        )
    crop = _Crop(manifest, check(views), plan.seed, floats)
    first = PipelineSpec(field, decoder=_PassNumbers(), transforms=[crop, _Output(0, (), torch.int64)])
    others: dict[str, Any] = {}
    for i, s in enumerate(map(size_of, views)):
        output = _Output(i + 1, (3, s, s), torch.float32) if floats else _Output(i + 1, (s, s, 3), BYTE)
        others[f"view{i}"] = PipelineSpec(crop, transforms=[output])
    return Stages({field: None, "row": first, **others}, Order(manifest, plan, field))


class _PassNumbers(Operation):
    """The decoder, which ffcv requires to be jitted: passes on sample numbers [N, 1]."""

    def declare_state_and_memory(self, before: Any) -> tuple[Any, Any]:
        return replace(before, jit_mode=True, shape=(1,), dtype=NUMBER), Memory((1,), NUMBER)

    def generate_code(self) -> Callable[..., Any]:
        def pass_numbers(numbers: Any, out: Any, metadata: Any, storage: Any) -> Any:
            for i in range(len(numbers)):
                out[i, 0] = numbers[i]
            return out[: len(numbers)]

        return pass_numbers


class _Crop(Operation, SampleReader):
    """Sample numbers [N, 1] -> (rows, view 0, view 1, ...). It is also its executor's reader, over ffcv's memory, whose
    managers prefetch the pages and own the file."""

    def __init__(self, manifest: Manifest, views: Views, seed: int, floats: bool):
        super().__init__()
        self.manifest, self.views, self.seed, self.floats = manifest, views, seed, floats
        self.row = np.zeros(manifest.beton.max() + 1, np.int64)
        self.row[manifest.beton] = np.arange(len(manifest))
        self.length = sum(3 * size_of(view) ** 2 for view in views)
        self.lock = threading.Lock()
        self.executor: Executor | None = None
        self.storage: Any = None  # of the epoch whose batch is cropped

    def declare_state_and_memory(self, before: Any) -> tuple[Any, Any]:
        return replace(before, jit_mode=False, shape=(self.length,), dtype=BYTE), Memory((self.length,), BYTE)

    def generate_code(self) -> Callable[..., Any]:
        return forward_errors(self.crop)

    def crop(self, numbers: np.ndarray, memory: np.ndarray) -> tuple[Tensor, ...]:
        running: Any = threading.current_thread()  # ffcv starts one per epoch
        order, rows = running.order, self.row[numbers[:, 0]]
        begin = getattr(running, "cropped", 0)  # its batches come in order
        running.cropped = begin + len(rows)
        occurrence = order.occurrence[begin : running.cropped]
        params = batch_params(self.manifest, self.views, rows, self.seed, order.epoch, occurrence)
        with self.lock:
            if self.executor is None:
                sizes = [size_of(view) for view in self.views]
                self.executor = Executor(self, self.manifest, sizes, running.loader.num_workers)
            self.storage = running.storage_state
            views = self.executor.crop_now(params, memory.reshape(-1))
        if self.floats:
            render = threaded(share_of_cores())
            views = [
                apply_user_ops(view, render(on_device(view), pixels, packed), keys)
                for view, pixels, packed, keys in zip(
                    self.views, views, params.packed, params.keys.unbind(1), strict=True
                )
            ]
        return torch.from_numpy(params.rows), *views

    def read(self, row: int) -> bytes | np.ndarray:
        """A JPEG without a copy, so that its pages are read from disk while decoding, without a lock."""
        image = self.metadata[self.manifest.beton[row]]
        data = self.memory_read(image["data_ptr"], self.storage)
        if image["mode"] == JPEG:
            return cast(bytes, data.data)
        return data.reshape(image["height"], image["width"], 3)

    def locate(self, row: int) -> str:
        return f"{self.manifest.beton_path()}, its sample {self.manifest.beton[row]}"


class _Output(Operation):
    """One output of the crop: an array for bytes, which ffcv's stages take, else a tensor."""

    def __init__(self, at: int, shape: tuple[int, ...], dtype: np.dtype[Any] | torch.dtype):
        super().__init__()
        self.at, self.shape, self.dtype = at, shape, dtype

    def declare_state_and_memory(self, before: Any) -> tuple[Any, Any]:
        return replace(before, jit_mode=False, shape=self.shape, dtype=self.dtype), None

    def generate_code(self) -> Callable[..., Any]:
        return lambda outputs, _: outputs[self.at].numpy() if self.dtype == BYTE else outputs[self.at]
