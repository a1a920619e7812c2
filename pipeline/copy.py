"""The copy of host batches to the device: on a side stream, one batch ahead. On the CPU nothing is copied."""

from collections.abc import Iterator

import torch
from torch import Tensor

from .host_batch import HostBatch
from .timing import Times


def side_stream(device: torch.device) -> torch.cuda.Stream | None:
    """The stream for copies to a GPU; one per loader, since the allocator keeps freed memory per stream."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None


def copied_ahead(batches: Iterator[HostBatch], side: torch.cuda.Stream | None, times: Times) -> Iterator[HostBatch]:
    """The same batches on the stream's device; while one is consumed, the next is copied from pinned memory.

    So a batch is handed over once the next is decoded, which costs one of the batches ahead. The consumer waits for its
    own copy alone: that wait is put into its stream before the next copy is put into the side stream.
    """
    if side is None:
        yield from batches
        return
    device = side.device
    held: HostBatch | None = None
    for batch in batches:
        with times.spent("copy"), torch.cuda.stream(side):
            moved = batch.map(lambda t: _copied(t, device))
        if held is not None:
            yield held
        held = _handed_over(moved, side, device)
    if held is not None:
        yield held


def _copied(tensor: Tensor, device: torch.device) -> Tensor:
    if tensor.is_cuda:  # decoded there
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)  # pinned already: no copy


def _handed_over(batch: HostBatch, side: torch.cuda.Stream, device: torch.device) -> HostBatch:
    """Make the consumer's stream wait for the copy, and the allocator wait for the consumer."""
    main = torch.cuda.current_stream(device)
    main.wait_stream(side)

    def record(tensor: Tensor) -> Tensor:
        tensor.record_stream(main)
        return tensor

    return batch.map(record)
