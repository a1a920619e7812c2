"""The executor: threads that read a sample through any reader, decode it once and crop all its views.

Reading, decoding and cropping release the GIL, so threads scale and nothing is pickled. A task is a chunk of samples,
of which many are read, decoded and cropped in one call of machine code each, since a thread waits for the GIL after
every call. Each thread keeps a buffer for decoded images.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import simplejpeg
import torch
from torch import Tensor

from ..shards.errors import UserError
from ..shards.manifest import Manifest
from .batch import SampleReader
from .cropping import Cropping, scratch_for
from .damage import check_size, damaged
from .decoding import decode_all
from .host_batch import CroppedViews
from .plan.params import BatchParams
from .reading import Check, Data, Reading, as_bytes, known
from .tasks import Chunk, Task, Tasks
from .turbojpeg import REFUSED, needs_turbojpeg


class Executor(Tasks):
    """The tasks that read, decode and crop. `planes`: crop JPEGs with halved colors from the planes that they store;
    UserError without libturbojpeg. `check`: as of `Reading`."""

    def __init__(
        self,
        reader: SampleReader,
        manifest: Manifest,
        sizes: Sequence[int],
        threads: int = 0,
        *,
        planes: bool = False,
        check: Check | None = None,
    ):
        super().__init__(threads)
        self.reader, self.manifest, self.planes, self.check = reader, manifest, planes, check
        self.sizes = np.array(sizes, np.int64)  # of the views, px
        self._local = threading.local()
        if planes:
            needs_turbojpeg()

    def bytes_for(self, samples: int) -> int:
        """Bytes that `crop` fills: view after view, each [samples, S, S, 3]."""
        return int(3 * (self.sizes**2).sum()) * samples

    def places(self, samples: int) -> np.ndarray:
        """[samples, V]: where each view of each sample begins in what `crop` fills."""
        each = 3 * self.sizes**2  # bytes per sample
        return np.cumsum(each * samples) - each * samples + np.arange(samples)[:, None] * each

    def crop(self, rows: np.ndarray, boxes: np.ndarray, out: np.ndarray) -> list[Task]:
        """Start to crop samples `rows` [N] by `boxes` [N, V, CROP_FIELDS] into the flat uint8 `out`."""
        reading = Reading(self.reader, rows, self.check)
        cropping = Cropping(self.manifest, rows, boxes, self.sizes, self.places(len(rows)), out, self.planes)

        def work(part: range) -> Chunk:
            failed: dict[int, UserError] = {}
            cut, begin = 0.0, time.perf_counter()
            samples = reading(part)
            ready, scratch = time.perf_counter(), self._scratch()
            for group in cropping.groups(part):
                some = samples[group.start - part.start : group.stop - part.start]
                kinds = cropping.decode(group, some, scratch)
                others = [*self._others(reading, group, some, kinds, failed)]
                now = time.perf_counter()
                cropping.crop(group, kinds, scratch)
                for i, image in others:
                    cropping.crop_one(i, image)
                cut += time.perf_counter() - now
            return Chunk((ready - begin, time.perf_counter() - ready - cut, cut), failed)

        return self.start(len(rows), work)

    def decode(self, rows: np.ndarray, out: np.ndarray) -> list[Task]:
        """Start to decode samples `rows` [N], one after the other, into the flat uint8 `out`."""
        reading, hw, planar = Reading(self.reader, rows, self.check), self.manifest.hw[rows], np.zeros(len(rows), bool)
        height, width = hw.T.astype(np.int32)
        ends = np.cumsum(3 * hw.astype(np.int64).prod(axis=1))
        first = np.concatenate([[0], ends[:-1]])

        def work(part: range) -> Chunk:
            failed: dict[int, UserError] = {}
            at, begin = slice(part.start, part.stop), time.perf_counter()
            samples = reading(part)
            ready = time.perf_counter()
            kinds = decode_all(samples, height[at], width[at], planar[at], first[at], out)
            for i, image in self._others(reading, part, samples, kinds, failed):
                out[first[i] : ends[i]] = image.reshape(-1)
            return Chunk((ready - begin, time.perf_counter() - ready, 0.0), failed)

        return self.start(len(rows), work)

    def read(self, rows: np.ndarray, ready: Callable[[int, Any], Any], out: list[Any]) -> list[Task]:
        """Start to read samples `rows` [N]; `out` [N] gets what `ready` makes of each row and its JPEG or pixels."""
        reading = Reading(self.reader, rows, self.check)

        def work(part: range) -> Chunk:
            failed: dict[int, UserError] = {}
            begin = time.perf_counter()
            samples = reading(part)
            then = time.perf_counter()
            for i, data in zip(part, samples, strict=True):
                try:
                    out[i] = ready(int(rows[i]), as_bytes(known(data)))
                except UserError as error:
                    failed[i] = error
            return Chunk((then - begin, time.perf_counter() - then, 0.0), failed)

        return self.start(len(rows), work)

    def decoded(self, row: int, data: Data) -> np.ndarray:
        """The image [H, W, 3] uint8 of a JPEG, or the stored pixels as they are; UserError names a damaged one."""
        try:
            image = data if isinstance(data, np.ndarray) else simplejpeg.decode_jpeg(data)
        except (ValueError, RuntimeError) as error:
            raise damaged(self.manifest, self.reader, row, str(error), data) from error
        height, width = image.shape[:2]
        check_size(self.manifest, self.reader, row, height, width, data)
        return image

    def crop_now(self, params: BatchParams, out: np.ndarray) -> list[Tensor]:
        """Crop a batch into the flat uint8 `out`: its views, each [N, S, S, 3], over that memory. UserError if a sample
        fails."""
        if failed := self.wait(self.crop(params.rows, params.boxes, out)):
            raise next(iter(failed.values()))
        return CroppedViews(torch.from_numpy(out), self.sizes.tolist()).views()

    def _others(
        self,
        reading: Reading,
        part: range,
        samples: list[Data | UserError],
        kinds: np.ndarray,
        failed: dict[int, UserError],
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Position and image of each sample that `decode_all` refused; `failed` gets the errors by position."""
        for i, data, kind in zip(part, samples, kinds.tolist(), strict=True):
            if kind == REFUSED:
                try:
                    yield i, self.decoded(int(reading.rows[i]), known(data))
                except UserError as error:
                    failed[i] = error

    def _scratch(self) -> np.ndarray:
        if not hasattr(self._local, "buffer"):
            self._local.buffer = np.empty(scratch_for(self.manifest), np.uint8)
        return self._local.buffer
