"""Host batches and their copy to the device: on a side stream, one batch ahead; on the CPU there is nothing to do."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .timing import Times


class Host(NamedTuple):
    """A batch before color work."""

    pixels: Tensor  # flat uint8: view after view, each [N, S, S, 3]; or sample after sample [H, W, 3], not cropped yet
    boxes: Tensor  # [N, V, CROP_FIELDS] int32, for samples that are not cut yet
    packed: tuple[Tensor, ...]  # a view's parameters, [N, P] float32
    target: Tensor  # [N] int64
    index: Tensor  # [N] int64  # pyright: ignore
    hw: np.ndarray  # [N, 2] px of the samples; stays on the host, where shapes are decided

    def tensors(self) -> tuple[Tensor, ...]:
        """Those that travel."""
        return self.pixels, self.boxes, self.target, self.index, *self.packed

    def map(self, move: Callable[[Tensor], Tensor]) -> "Host":
        """Every tensor through `move`."""
        pixels, boxes, target, index, *packed = map(move, self.tensors())
        return Host(pixels, boxes, tuple(packed), target, index, self.hw)


def side_stream(device: torch.device) -> torch.cuda.Stream | None:
    """The stream for copies to a GPU; one a loader, since the allocator keeps freed memory for each stream apart."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None


def ahead(batches: Iterator[Host], side: torch.cuda.Stream | None, times: Times) -> Iterator[Host]:
    """The same batches on the stream's device; while one is consumed, the next is copied from pinned memory."""
    if side is None:
        yield from batches
        return
    device = side.device
    held: Host | None = None
    for batch in batches:
        with times.spent("copy"), torch.cuda.stream(side):
            moved = batch.map(lambda t: t.pin_memory().to(device, non_blocking=True))  # pinned already: no copy
        if held is not None:
            yield held
        held = _handed_over(moved, side, device)
    if held is not None:
        yield held


def _handed_over(batch: Host, side: torch.cuda.Stream, device: torch.device) -> Host:
    """Make the consumer's stream wait for the copy, and the allocator for the consumer."""
    main = torch.cuda.current_stream(device)
    main.wait_stream(side)
    for tensor in batch.tensors():
        tensor.record_stream(main)
    return batch
