"""Batches on the host before rendering: views that are cropped already, or whole images that the device will crop, or
where it holds them."""

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

    flat: Tensor  # uint8: image after image, each [H, W, 3]
    hw: np.ndarray  # [N, 2] px of the images; stays on the host, where shapes are decided
    boxes: Tensor  # [N, V, CROP_FIELDS] int32
    sizes: list[int]  # S of each view, px
    compiled: bool = False  # the crop

    def views(self) -> list[Tensor]:
        """Crop each view, [N, S, S, 3] uint8, on the device of the pixels; a GPU's half precision costs a level."""
        dtype = torch.float16 if self.flat.is_cuda else torch.float32
        views = [self.flat.new_empty(len(self.hw), s, s, 3) for s in self.sizes]
        for part, canvas in resample.unpack(self.flat, self.hw):
            rows = resample.rows_of(canvas, dtype)
            for v, (view, size) in enumerate(zip(views, self.sizes, strict=True)):
                crop = resample.compiled(size) if self.compiled else resample.crop
                view[part] = crop(rows, self.boxes[part, v], size)
        return views

    def map(self, move: Move) -> "DecodedImages":
        """The same pixels and boxes through `move`."""
        return replace(self, flat=move(self.flat), boxes=move(self.boxes))


@dataclass(frozen=True)
class HeldImages:
    """The pixels of a batch whose images lie on the device already, among those of the whole set."""

    flat: Tensor  # uint8, on the device: all that it holds, image after image, each [H, W, 3]
    begin: np.ndarray  # [N] int64: first byte of each image
    at: Tensor  # [N] int64: the numbers of the images, where all of the set have one size; else empty
    hw: np.ndarray  # [N, 2] px of the images
    boxes: Tensor  # [N, V, CROP_FIELDS] int32
    sizes: list[int]  # S of each view, px

    def views(self) -> list[Tensor]:
        """Each view, as from `DecodedImages`; the images are collected on the device."""
        if len(self.at):
            flat = self.flat.view(-1, 3 * int(self.hw[0].prod())).index_select(0, self.at).view(-1)
        else:
            ends = self.begin + 3 * self.hw.astype(np.int64).prod(axis=1)
            places = zip(self.begin.tolist(), ends.tolist(), strict=True)
            flat = torch.cat([self.flat[:0], *(self.flat[begin:end] for begin, end in places)])
        return DecodedImages(flat, self.hw, self.boxes, self.sizes).views()

    def map(self, move: Move) -> "HeldImages":
        """The same images, their boxes through `move`."""
        return replace(self, at=move(self.at), boxes=move(self.boxes))


@dataclass(frozen=True)
class HostBatch:
    """A batch before rendering."""

    pixels: CroppedViews | DecodedImages | HeldImages
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
    anyway. `varying`: lengths differ from batch to batch, so buffers get an eighth more than they need. `stream`:
    the memory belongs to that stream of a GPU, not to the host.
    """

    def __init__(self, *, pinned: bool, varying: bool, stream: torch.cuda.Stream | None = None):
        self.pinned, self.varying, self.stream = pinned, varying, stream
        self._spare: list[Tensor] = []

    def take(self, length: int) -> Tensor:
        """A flat uint8 buffer of `length` bytes or more, uninitialized."""
        while self._spare:
            if len(buffer := self._spare.pop()) >= length:
                return buffer
        length += length // 8 if self.varying else 0
        if self.stream:
            with torch.cuda.stream(self.stream):
                return torch.empty(length, dtype=torch.uint8, device=self.stream.device)
        return torch.empty(length, dtype=torch.uint8, pin_memory=self.pinned)

    def give_back(self, buffer: Tensor) -> None:
        """Let a later batch use the buffer."""
        if not self.pinned:
            self._spare.append(buffer)
