"""Batches before rendering: views that are cropped already, or whole images that the device will crop."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..augment.renderers import resample

Move = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class CroppedViews:
    """The pixels of a batch that the host has cropped."""

    flat: Tensor  # uint8: view after view, each [N, S, S, 3]
    sizes: list[int]  # S of each view, px

    def views(self) -> list[Tensor]:
        """Each view [N, S, S, 3] uint8, over the same memory."""
        n = len(self.flat) // (3 * sum(s * s for s in self.sizes))
        parts = self.flat.split([3 * s * s * n for s in self.sizes])
        return [part.view(n, s, s, 3) for part, s in zip(parts, self.sizes, strict=True)]

    def map(self, move: Move) -> "CroppedViews":
        """The same pixels through `move`."""
        return replace(self, flat=move(self.flat))


@dataclass(frozen=True)
class DecodedImages:
    """The pixels of a batch of whole images, which the device will crop."""

    flat: Tensor  # uint8: image after image, each [H, W, 3]; those of the batch, or all that the device holds
    hw: np.ndarray  # [N, 2] px of the images; stays on the host, where shapes are decided
    boxes: Tensor  # [N, V, CROP_FIELDS] int32
    sizes: list[int]  # S of each view, px
    compiled: bool = False  # the crop
    first: np.ndarray | None = None  # [N] int64: where each image begins in `flat`, px; None: one after the other

    def views(self) -> list[Tensor]:
        """Crop each view, [N, S, S, 3] uint8, on the device of the pixels; a GPU's half precision costs a level."""
        dtype = torch.float16 if self.flat.is_cuda else torch.float32
        views = [self.flat.new_empty(len(self.hw), s, s, 3) for s in self.sizes]
        for part, canvas in resample.unpack(self.flat, self.hw, self.first):
            rows = resample.rows_of(canvas, dtype)
            for v, (view, size) in enumerate(zip(views, self.sizes, strict=True)):
                crop = resample.compiled(size) if self.compiled else resample.crop
                view[part] = crop(rows, self.boxes[part, v], size)
        return views

    def map(self, move: Move) -> "DecodedImages":
        """The same pixels and boxes through `move`."""
        return replace(self, flat=move(self.flat), boxes=move(self.boxes))


@dataclass(frozen=True)
class HostBatch:
    """A batch before rendering."""

    pixels: CroppedViews | DecodedImages
    packed: tuple[Tensor, ...]  # for each view the parameters of the ops after the crop, [N, P] float32
    keys: Tensor  # [N, V] int64, for the user's ops; stays on the host, where some of their numbers are made
    target: Tensor  # [N] int64
    index: Tensor  # [N] int64

    def map(self, move: Move) -> "HostBatch":
        """Every tensor but the keys through `move`."""
        target, index = map(move, (self.target, self.index))
        return HostBatch(self.pixels.map(move), tuple(map(move, self.packed)), self.keys, target, index)


class BufferPool:
    """Memory for pixels that is used again, since fresh memory would cost a tenth of a CPU loader's time.

    `pinned` memory, for copies to a GPU, is not used again here: a copy may still be reading it, and torch keeps it
    anyway. `varying`: lengths differ from batch to batch, so buffers that are used again get an eighth more than they
    need. `stream`: the memory belongs to that stream of a GPU, not to the host.
    """

    def __init__(self, *, pinned: bool, varying: bool, stream: torch.cuda.Stream | None = None):
        self.pinned, self.stream = pinned, stream
        self.spare = varying and not pinned
        self._spare: list[Tensor] = []

    def take(self, length: int) -> Tensor:
        """A flat uint8 buffer of `length` bytes or more, uninitialized."""
        while self._spare:
            if len(buffer := self._spare.pop()) >= length:
                return buffer
        length += length // 8 if self.spare else 0
        if self.stream:
            with torch.cuda.stream(self.stream):
                return torch.empty(length, dtype=torch.uint8, device=self.stream.device)
        return torch.empty(length, dtype=torch.uint8, pin_memory=self.pinned)

    def give_back(self, buffer: Tensor) -> None:
        """Let a later batch use the buffer."""
        if not self.pinned:
            self._spare.append(buffer)
