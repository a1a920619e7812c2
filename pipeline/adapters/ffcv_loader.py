"""For ffcv's own `Loader`, beside the stages: a plan as its order, and errors that reach its consumer."""

import threading
from collections.abc import Callable
from queue import Full
from typing import Any

import numpy as np

from ...shards.errors import UserError, choose, needs
from ...shards.manifest import Manifest
from ..plan.order import Plan
from ..plan.step import once

TraversalOrder: Any = needs("ffcv.traversal_order.base").TraversalOrder
Mapped: Any = needs("ffcv.memory_managers").OSCacheManager
compiled: Any = needs("ffcv.pipeline.compiler").Compiler.compile


class Numbers(np.ndarray):
    """Sample numbers [M] with what their draws need, kept by slices from the first on too: several epochs of a Loader
    may run at the same time."""

    epoch = 0
    occurrence: np.ndarray | None = None  # [M] int64, of each sample

    def __array_finalize__(self, whole: Any) -> None:
        self.epoch, self.occurrence = getattr(whole, "epoch", 0), getattr(whole, "occurrence", None)


class Order(TraversalOrder):
    """This rank's samples as numbers in the .beton, for one Loader, which calls the instance with itself."""

    def __init__(self, manifest: Manifest, plan: Plan, field: str):
        self.manifest, self.plan, self.field, self.begun = manifest, plan, field, (0, 0)

    def __call__(self, loader: Any) -> "Order":
        reader, share, numbers = loader.reader, self.plan.share, self.manifest.beton
        at = reader.field_names.index(choose("field", self.field, reader.field_names))
        height = reader.metadata[f"f{at}"]["height"]
        if numbers.max() >= len(height) or (height[numbers] != self.manifest.height).any():
            raise UserError(f"{reader.file_name} is not the .beton that {self.manifest.root} describes: name that one")
        if loader.batch_size != share:
            raise UserError(
                f"the plan gives this rank {share} samples of each batch, the Loader takes {loader.batch_size}: "
                f"create it with batch_size={share}"
            )
        if len(loader.indices) != reader.num_samples:
            raise UserError("the plan chooses the samples: create the Loader without indices")
        self.loader = loader
        if isinstance(loader.memory_manager, Mapped):
            # ffcv compiles its reader with a signature that marks numba's type of byte arrays as read-only. After that
            # no code that writes bytes compiles in this process. Without a signature numba infers the types.
            loader.memory_manager.compile_reader = lambda: compiled(_read)
        return self

    def resume(self, epoch: int, step: int = 0) -> None:
        """Continue `epoch` after its first `step` batches, once the Loader exists; later epochs are whole."""
        self.begun, self.loader.next_epoch = (epoch, step), epoch
        self.sample_order(epoch)

    def sample_order(self, epoch: int) -> Numbers:
        """The sample numbers of `epoch`, in the order that the Loader follows: it takes a whole epoch as an array."""
        start = self.begun[1] if epoch == self.begun[0] else 0
        steps = [once(np.empty(0, np.int64)), *self.plan.steps(epoch, start)]
        rows, occurrence = map(np.concatenate, zip(*steps, strict=True))
        if self.loader.drop_last and len(rows) % self.loader.batch_size:
            raise UserError("the plan keeps an epoch's last, shorter batch: create the Loader with drop_last=False")
        numbers = self.manifest.beton[rows].astype(np.uint64).view(Numbers)
        numbers.epoch, numbers.occurrence = epoch, occurrence
        self.loader.first_traversal_order = numbers  # the Loader shortens each epoch to its length
        return numbers


def _read(address: Any, state: Any) -> Any:
    """The bytes at an address of a mapped .beton; numba compiles it."""
    size = state[2][np.searchsorted(state[1], address)]
    return state[0][address : address + size]


class Failed:
    """An error in ffcv's queue in place of a batch: raised when the consumer unpacks it."""

    def __init__(self, error: Exception):
        self.error = error

    def __iter__(self) -> Any:
        raise self.error


def forward_errors(work: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `work` so that its errors reach the consumer, who would wait for ever if one ended ffcv's thread."""

    def run(*arguments: Any) -> Any:
        try:
            return work(*arguments)
        except Exception as error:
            running: Any = threading.current_thread()
            while not running.terminate_event.is_set():
                try:
                    running.output_queue.put(Failed(error), timeout=0.5)
                    break
                except Full:
                    continue
            raise StopIteration from error  # ends the epoch of ffcv's thread

    return run
