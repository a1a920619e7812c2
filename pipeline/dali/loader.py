"""The DALI loader: bytes and boxes in our order -> NVIDIA's DALI decodes and cuts, on the CPU or a GPU (`mixed`).

Order and draws are every loader's, bytes come through any reader; only who decodes differs, so its pixels are
`ViewLoader`'s within the bounds told in `augment.renderers.dali`. In flight: the bytes of AHEAD + 1 batches, and two
batches in DALI.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...augment.draw import Draws, draw
from ...augment.renderers import device as device_renderer
from ...augment.renderers import host as host_renderer
from ...augment.renderers.dali import Renderer, Started, rest
from ...augment.renderers.dali_graph import split
from ...augment.renderers.dali_inputs import Unfit
from ...augment.renderers.packing import pack
from ...augment.spec import Views, check, size_of
from ...shards.formats.beton import JPEG
from ...shards.manifest import Manifest
from ..batch import Batch, SampleReader
from ..executor import damaged
from ..plan.order import Plan
from ..readers.ffcv import CachedBetonReader
from ..timing import Times
from ..workers import share_of_cores
from .jpegs import JpegReader, Jpegs, NoJpeg


class Made(NamedTuple):
    """A batch in DALI's hands; `started` is None where this rank has no sample of it."""

    rows: np.ndarray
    draws: list[Draws]
    started: Started | None


class DaliLoader:
    """A Loader as `ViewLoader` is, by DALI; `threads` (0: all cores) read, and as many decode. Needs JPEGs, not pixels,
    and their digests. `skip`: `ViewLoader`'s replacements for damaged samples."""

    def __init__(
        self,
        manifest: Manifest,
        plan: Plan,
        views: Views,
        reader: SampleReader,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        threads: int = 0,
        skip: bool = False,
    ):
        plan.fit(len(manifest), manifest.info.name)
        if isinstance(reader, CachedBetonReader) and (raw := np.flatnonzero(reader.mode[reader.rows] != JPEG)).size:
            raise NoJpeg(manifest, int(raw[0]))
        self.manifest, self.plan, self.views, self.reader = manifest, plan, check(views), reader
        self.device, self.dtype, self.times = torch.device(device), dtype, Times()
        threads, on = threads or share_of_cores(), "gpu" if self.device.type == "cuda" else "cpu"
        self.jpegs = JpegReader(manifest, reader, threads, plan.seed, skip and plan.tail != "exact")
        with torch.cuda.device(self.device if on == "gpu" else -1):  # -1: no device, nothing to do
            self.renderer = Renderer(views, plan.batch // plan.world_size, on, threads, hints(manifest))

    def __len__(self) -> int:
        return len(self.plan)

    @property
    def skipped(self) -> dict[int, str]:
        """Row -> why a replacement took its place."""
        return self.jpegs.skipped

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches `start`.. of epoch `number`, on the device, rendered."""
        coming = list(self.plan.ids(number, start))
        self.reader.prefetch(np.concatenate([*coming, np.empty(0, np.int64)]))
        held: Made | None = None
        with closing(self.jpegs.ahead(coming, number)) as batches:
            for jpegs in batches:
                made = self._start(jpegs, number)
                if held:
                    yield self._finish(held, number)
                held = made
            if held:
                yield self._finish(held, number)

    def close(self) -> None:
        """End the threads and DALI's pipeline, and close the files."""
        self.jpegs.close()
        self.renderer.close()
        self.reader.close()

    def _start(self, jpegs: Jpegs, epoch: int) -> Made:
        rows, m = jpegs.rows, self.manifest
        with self.times.spent("draw"):
            uid, hw = m.uid[rows], m.hw[rows]
            draws = [draw(v, uid, hw, seed=self.plan.seed, epoch=epoch, number=i) for i, v in enumerate(self.views)]
            return Made(rows, draws, self.renderer.start(jpegs.data, hw, draws) if jpegs.data else None)

    def _finish(self, made: Made, epoch: int) -> Batch:
        try:
            views = self._views(made)
        except Unfit as error:
            if not self.jpegs.skip:
                raise damaged(self.manifest, self.reader, int(made.rows[error.place]), error.why) from error
            made = self._start(self.jpegs.sound(made.rows, epoch), epoch)
            views = self._views(made)
        self.times["samples"] += len(made.rows)
        target = self.manifest.label[made.rows].astype(np.int64)
        return Batch(views, self._moved(target), self._moved(made.rows))

    def _views(self, made: Made) -> tuple[Tensor, ...]:
        if not made.started:
            shapes = [(0, size_of(view), size_of(view), 3) for view in self.views]
            return tuple(torch.empty(s, dtype=self.dtype, device=self.device).permute(0, 3, 1, 2) for s in shapes)
        with self.times.spent("wait"):
            pixels = self.renderer.take(made.started)
        render, views = host_renderer.render if self.device.type == "cpu" else device_renderer.render, []
        with self.times.spent("render"):
            for view, draws, x in zip(self.views, made.draws, pixels, strict=True):
                if left := split(view)[1]:
                    x = render(left, x, self._moved(pack(rest(view, draws), len(x))), self.dtype)
                views.append(x.to(self.dtype))
        return tuple(views)

    def _moved(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor if self.device.type == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)


def hints(manifest: Manifest) -> dict[str, int]:
    """Bytes for nvJPEG's buffers, one a thread and two on the host, so that the largest image makes none grow.

    Three full planes of two-byte coefficients, in blocks of at most 16 px; on the host the JPEG beside them. Of DALI's
    other hints, `preallocate_*_hint` is for the hardware decoder, which our graph leaves out, and its executor takes
    each batch from a pool whatever `bytes_per_sample_hint` says.
    """
    blocks = int((-(-manifest.hw.astype(np.int64) // 16)).prod(axis=1).max())
    planes, most = 3 * 2 * 16 * 16 * blocks, 2**31 - 1  # the arguments are int32
    host = planes + int(manifest.bytes.max())
    return {"device_memory_padding": min(planes, most), "host_memory_padding": min(host, most)}
