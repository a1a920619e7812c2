"""The loader of a set that is decoded once and then held in memory, for small images: no read and no decode remains.

Where the device crops (a GPU does, unless `crops` is "host"), it holds the images, and only boxes and parameters of a
batch are copied there. The host crops many images in one call of its kernel, since at 32 px the interpreter would take
longer than the pixels. Pixels are those of every other reader with the same crops.
"""

import time
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace

import numpy as np
import torch

from ...augment.checks import check
from ...augment.spec import Views
from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ..batch import Batch, SampleReader
from ..cut.resize import resized_crops_of_all
from ..damage import DigestCheck, Replacer
from ..host_batch import DecodedImages, HostBatch
from ..loader import Pending, ViewLoader
from ..options import DEFAULTS, LoaderOptions, usable
from ..plan.order import Plan
from ..plan.params import BatchParams
from ..tasks import Chunk, Task
from .held import hold


class MemoryLoader(ViewLoader):
    """A `ViewLoader` that decodes the images when it is made, and closes the reader then. Each rank holds what its plan
    can show: its share of an evaluation in storage order, else the whole set.

    UserError for images that do not fit, and for a damaged one that may not be replaced.
    """

    def __init__(
        self, manifest: Manifest, plan: Plan, views: Views, reader: SampleReader, options: LoaderOptions = DEFAULTS
    ):
        with closing(reader):
            plan.fit(len(manifest), manifest.info.name)
            check(views)
            device = usable(options.device)
            if options.crops == "auto" and device.type == "cuda":
                options = replace(options, crops="device")
            place = device if options.crop_on_device else torch.device("cpu")
            rows, replacer = shown(manifest, plan), Replacer(manifest, plan, options.skip)
            digests = DigestCheck(manifest, reader) if options.compares else None
            self.held = hold(manifest, rows, reader, place, options.threads, replacer, check=digests)
        super().__init__(manifest, plan, views, self.held, replace(options, check="decode"))  # what is held is pixels

    def batch(self, rows: np.ndarray, epoch: int, occurrence: int | np.ndarray = 0) -> Batch:
        """As of `ViewLoader`. UserError for an image that this rank does not hold."""
        if len(others := rows[self.held.first[rows] < 0]):
            raise UserError(
                f"sample {others[0]} is not in this rank's share of the plan, which --loader memory holds alone: "
                "take another loader, or a plan of one rank"
            )
        return super().batch(rows, epoch, occurrence)

    def _allocate(self, params: BatchParams) -> Pending:
        if not self.crop_on_device:
            return super()._allocate(params)
        first, boxes = self.held.first[params.rows] // 3, torch.from_numpy(params.boxes)
        hw = self.manifest.hw[params.rows]
        pixels = DecodedImages(self.held.pixels, hw, boxes, self.sizes, self.compiled, first)
        host = HostBatch(pixels, params.packed, params.keys, params.target, torch.from_numpy(params.rows))
        return Pending(params, host, self._buffers.take(0))

    def _start(self, pending: Pending) -> list[Task]:
        rows, boxes = pending.params.rows, pending.params.boxes
        if (failed := self.held.failed_of(rows)) or self.crop_on_device:
            done: Task = Future()
            done.set_result(Chunk((0.0, 0.0, 0.0), failed))
            return [done]
        pixels, out, sizes = self.held.pixels.numpy(), pending.host.pixels.flat.numpy(), self.executor.sizes
        first, widths, places = self.held.first[rows], self.manifest.width[rows], self.executor.places(len(rows))

        def crop(part: range) -> Chunk:
            begin, at = time.perf_counter(), slice(part.start, part.stop)
            resized_crops_of_all(pixels, first[at], widths[at], boxes[at], sizes, places[at], out)
            return Chunk((0.0, 0.0, time.perf_counter() - begin), {})

        return self.executor.start(len(rows), crop)


def shown(manifest: Manifest, plan: Plan) -> np.ndarray:
    """The rows [M] that the epochs of this rank can show."""
    if plan.tail == "exact" and not plan.order:  # in storage order every time, and nothing is replaced
        return np.concatenate([*plan.ids(0)])
    return np.arange(len(manifest))
