"""The decoded images of a set, in memory of the host or of a GPU."""

import logging
import os
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...shards.engine import prefetch
from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ...shards.progress import Bar
from ..batch import SampleReader
from ..damage import Replacer
from ..executor import Executor
from ..readers.row_prefetch import free_memory
from ..reading import Check
from ..workers import ranks_here

LOG = logging.getLogger(__name__)

SHARE = 0.5  # of the free memory that the images may take: networks and batches need some too
PART = 1 << 24  # bytes of images that are decoded together
AHEAD = 2  # parts that are decoded while one is moved to the device


class HeldReader(SampleReader):
    """Decoded images, one after another in the flat uint8 `pixels`: image `row` from byte `first[row]` on, -1 if it is
    not held. `failed`: the errors of damaged images by row."""

    def __init__(self, manifest: Manifest, pixels: Tensor, first: np.ndarray, failed: dict[int, UserError]):
        self.pixels, self.first, self.failed, self._hw = pixels, first, failed, manifest.hw

    def read(self, row: int) -> np.ndarray:
        if row in self.failed:
            raise self.failed[row]
        height, width = self._hw[row].tolist()
        image = self.pixels[int(self.first[row]) :][: 3 * height * width]
        return image.view(height, width, 3).cpu().numpy()

    def locate(self, row: int) -> str:
        return f"memory of {self.pixels.device}"

    def close(self) -> None:
        """Give the memory back."""
        self.pixels = self.pixels.new_empty(0)

    def failed_of(self, rows: np.ndarray) -> dict[int, UserError]:
        """The errors of damaged images among `rows` [N], by position."""
        return {i: self.failed[row] for i, row in enumerate(rows.tolist()) if row in self.failed} if self.failed else {}


class Part(NamedTuple):
    """Images that are decoded together."""

    rows: np.ndarray
    target: Tensor  # where they will be held
    decoded: Tensor  # the same memory, or memory of the host from which they are copied


def hold(
    manifest: Manifest,
    rows: np.ndarray,
    reader: SampleReader,
    device: torch.device,
    threads: int,
    replacer: Replacer,
    *,
    check: Check | None = None,
) -> HeldReader:
    """Decode images `rows` [M] into memory of `device`; `check` as of `Reading`. UserError for more than SHARE of what
    is free, and for a damaged image unless `replacer` may replace it."""
    manifest.check(rows)
    ends = np.concatenate([[0], np.cumsum(3 * manifest.hw[rows].astype(np.int64).prod(axis=1))])
    refuse_large(manifest.info.name, len(rows), int(ends[-1]), device)
    first, failed = np.full(len(manifest), -1), {}
    first[rows] = ends[:-1]
    pixels = torch.empty(int(ends[-1]), dtype=torch.uint8, device=device)
    executor = Executor(reader, manifest, [], threads, check=check)
    started = prefetch(_parts(rows, pixels, ends), lambda p: executor.decode(p.rows, p.decoded.numpy()), AHEAD)
    progress = Bar(len(rows), "img", "into memory", quiet=not first_rank())
    reader.prefetch(iter([rows]))
    with closing(executor), closing(started), progress as bar:
        for part, tasks in started:
            for position, error in executor.wait(tasks).items():
                if not replacer.allowed:
                    raise replacer.final(error)
                failed[int(part.rows[position])] = error
            if part.decoded is not part.target:
                part.target.copy_(part.decoded)
            executor.workers.done(len(part.rows))
            bar.update(len(part.rows))
    return HeldReader(manifest, pixels, first, failed)


def _parts(rows: np.ndarray, pixels: Tensor, ends: np.ndarray) -> Iterator[Part]:
    """Images whose first bytes lie in the same PART of `pixels`; `ends` [M + 1]."""
    edges = [0, *(np.flatnonzero(np.diff(ends[:-1] // PART)) + 1).tolist(), len(rows)]
    for begin, end in pairwise(edges):
        target = pixels[int(ends[begin]) : int(ends[end])]
        decoded = target if target.device.type == "cpu" else torch.empty_like(target, device="cpu")
        yield Part(rows[begin:end], target, decoded)


def first_rank() -> bool:
    """Whether this process shows what all of a run would."""
    return int(os.environ.get("RANK", "0")) == 0


def refuse_large(name: str, images: int, needed: int, device: torch.device) -> None:
    """UserError for images that take more than SHARE of the free memory; else print what they take."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = free_memory() // ranks_here()
    needed_mb, free_mb, limit_mb = (f"{number / 1e6:,.0f} MB" for number in (needed, free, SHARE * free))
    if needed > SHARE * free:
        raise UserError(
            f"the {images:,} decoded images of {name} take {needed_mb}, and --loader memory takes at most {limit_mb} "
            f"of the {free_mb} that are free on {device} for each process: choose another --loader"
        )
    if first_rank():
        LOG.warning(f"{name}: {images:,} images in memory, {needed_mb} of {free_mb} free on {device}")
