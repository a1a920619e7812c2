"""The DALI loader: NVIDIA's DALI decodes and crops, on the CPU or a GPU (`mixed`), by our order and our boxes.

Order, draws and readers are those of `ViewLoader`; only decoding and cropping differ, so pixels agree within the bounds
given in `augment.renderers.dali`. In memory: the bytes of AHEAD + 1 batches (for a GPU AHEAD_CUDA + 1), and two batches
in DALI.
"""

from collections.abc import Generator
from contextlib import closing
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...augment.checks import check
from ...augment.draw import Draws, draw, user_keys
from ...augment.renderers.dali import Renderer, Started, rest
from ...augment.renderers.dali_graph import split
from ...augment.renderers.dali_inputs import Unfit
from ...augment.renderers.packing import pack
from ...augment.renderers.user_ops import apply_user_ops
from ...augment.spec import Views, size_of
from ...shards.engine import begun
from ...shards.formats.beton import JPEG
from ...shards.manifest import Manifest
from ..batch import Batch, SampleReader
from ..damage import Replacer, damaged
from ..loader import ahead
from ..options import DEFAULTS, LoaderOptions, usable
from ..plan.order import Plan
from ..plan.step import Step
from ..timing import Times
from ..workers import share_of_cores
from .hints import hints
from .jpegs import JpegReader, Jpegs, NoJpeg


class Pending(NamedTuple):
    """A batch that DALI works on; `started` is None if this rank has no sample of it."""

    step: Step
    draws: list[Draws]
    started: Started | None


class DaliLoader:
    """A Loader over any reader of JPEGs with the digests of the manifest, not of raw pixels.

    `threads` threads read, and as many decode. Damaged samples get the replacements that `ViewLoader` gives them.
    """

    def __init__(
        self, manifest: Manifest, plan: Plan, views: Views, reader: SampleReader, options: LoaderOptions = DEFAULTS
    ):
        plan.fit(len(manifest), manifest.info.name)
        layout = getattr(reader, "layout", None)  # of a .beton
        if layout is not None and (raw := np.flatnonzero(layout.mode[manifest.beton] != JPEG)).size:
            raise NoJpeg(manifest, int(raw[0]))
        self.manifest, self.plan, self.views, self.reader = manifest, plan, check(views), reader
        self.device, self.dtype, self.times = usable(options.device), options.dtype, Times()
        self.render = options.render(plan.share)
        threads, on = options.threads or share_of_cores(), "gpu" if self.device.type == "cuda" else "cpu"
        self.replacer = Replacer(manifest, plan, options.skip, getattr(reader, "random_access", True))
        self.jpegs = JpegReader(manifest, reader, threads, ahead(self.device), self.replacer)
        with torch.cuda.device(self.device if on == "gpu" else -1):  # -1: no device, nothing to do
            decoder = hints(manifest, options.hw_decoder_load)
            self.renderer = Renderer(views, plan.share, on, threads, decoder)

    def __len__(self) -> int:
        return len(self.plan)

    @property
    def skipped(self) -> dict[int, str]:
        """Damaged rows that were replaced, and why."""
        return self.replacer.skipped

    @begun
    def epoch(self, number: int, start: int = 0) -> Generator[Batch | None, None, None]:
        """Batches `start`.. of epoch `number`, on the device, rendered. The JPEGs of the first are read from now on."""
        self.reader.prefetch(self.plan.ids(number, start))
        held: Pending | None = None
        with closing(self.jpegs.epoch(self.plan.steps(number, start), number)) as batches:
            yield
            for jpegs in batches:
                pending = self._start(jpegs, number)
                if held:
                    yield self._complete(held, number)
                held = pending
            if held:
                yield self._complete(held, number)

    def close(self) -> None:
        """End the threads and DALI's pipeline, and close the reader."""
        self.jpegs.close()
        self.renderer.close()
        self.reader.close()

    def _start(self, jpegs: Jpegs, epoch: int) -> Pending:
        (rows, occurrence), m = jpegs.step, self.manifest
        m.check(rows)
        with self.times.spent("draw"):
            uid, hw, key = m.uid[rows], m.hw[rows], {"seed": self.plan.seed, "epoch": epoch, "occurrence": occurrence}
            draws = [draw(view, uid, hw, number=i, **key) for i, view in enumerate(self.views)]
            return Pending(jpegs.step, draws, self.renderer.start(jpegs.data, hw, draws) if jpegs.data else None)

    def _complete(self, pending: Pending, epoch: int) -> Batch:
        try:
            views = self._views(pending, epoch)
        except Unfit as error:
            if not self.replacer.allowed:
                row = int(pending.step.rows[error.place])
                stored = damaged(self.manifest, self.reader, row, error.why, self.reader.read(row))
                raise self.replacer.final(stored) from error
            pending = self._start(self.jpegs.replaced(pending.step, epoch), epoch)
            views = self._views(pending, epoch)
        rows = pending.step.rows
        self.times["samples"] += len(rows)
        return Batch(views, self._moved(self.manifest.label[rows].astype(np.int64)), self._moved(rows))

    def _views(self, pending: Pending, epoch: int) -> tuple[Tensor, ...]:
        if not pending.started:
            shapes = [(0, size_of(view), size_of(view), 3) for view in self.views]
            return tuple(torch.empty(s, dtype=self.dtype, device=self.device).permute(0, 3, 1, 2) for s in shapes)
        with self.times.spent("wait"):
            pixels = self.renderer.take(pending.started)
        views: list[Tensor] = []
        uid, occurrence = self.manifest.uid[pending.step.rows], pending.step.occurrence
        with self.times.spent("render"):
            for number, (view, draws, x) in enumerate(zip(self.views, pending.draws, pixels, strict=True)):
                if left := split(view)[1]:
                    x = self.render(left, x, self._moved(pack(rest(view, draws), len(x))), self.dtype)
                keys = user_keys(uid, seed=self.plan.seed, epoch=epoch, number=number, occurrence=occurrence)
                views.append(apply_user_ops(view, x.to(self.dtype), torch.from_numpy(keys)))
        return tuple(views)

    def _moved(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor if self.device.type == "cpu" else tensor.pin_memory().to(self.device, non_blocking=True)
