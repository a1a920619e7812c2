"""The loader over any reader: plan -> draws -> executor -> device -> renderer."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..augment.checks import check
from ..augment.crops import on_device
from ..augment.renderers.user_ops import apply_user_ops
from ..augment.spec import Views, size_of
from ..shards.engine import begun, prefetch
from ..shards.errors import UserError
from ..shards.manifest import Manifest
from .batch import Batch, SampleReader
from .copy import copied_ahead, side_stream
from .damage import DigestCheck, Replacer
from .executor import Executor
from .gpu_decoder import GpuDecoder
from .host_batch import BufferPool, CroppedViews, DecodedImages, HostBatch
from .kernels import warm_up
from .options import DEFAULTS, LoaderOptions, usable
from .plan.order import Plan
from .plan.params import BatchParams, batch_params, batch_params_ahead
from .plan.step import Step
from .readers.row_prefetch import free_memory
from .tasks import Task

LARGE = 1 << 32  # bytes of a batch for which memory is looked at before it is asked for
AHEAD, AHEAD_CUDA = 2, 4  # batches that are read, decoded and cropped while one is consumed


def ahead(device: torch.device) -> int:
    """Batches ahead of a consumer on `device`; a step of a GPU may take less time than a slow batch."""
    return AHEAD_CUDA if device.type == "cuda" else AHEAD


class Pending(NamedTuple):
    """A batch whose pixels are not complete yet, and the buffer that they are written to."""

    params: BatchParams
    host: HostBatch
    buffer: Tensor


class ViewLoader:
    """A Loader over any reader. In memory: AHEAD + 1 batches of uint8 views, or of whole images if the device crops; on
    the GPU if it decodes.

    For a GPU AHEAD_CUDA + 2 batches of pinned memory, each rounded up to a power of two: one more is being copied.
    """

    def __init__(
        self, manifest: Manifest, plan: Plan, views: Views, reader: SampleReader, options: LoaderOptions = DEFAULTS
    ):
        plan.fit(len(manifest), manifest.info.name)
        self.manifest, self.plan, self.views, self.reader = manifest, plan, check(views), reader
        self.device, self.dtype = usable(options.device), options.dtype
        self.render = options.render(plan.share)
        # Kernels for all sizes depend on the sizes that came first, which are others in a resumed run.
        self.compiled = options.compiled and not torch.are_deterministic_algorithms_enabled()
        self.crop_on_device = options.crop_on_device
        self.sizes = [size_of(view) for view in views]
        self.replacer = Replacer(manifest, plan, options.skip, getattr(reader, "random_access", True))
        self._side = side_stream(self.device)
        warm_up(rendering=options.render_on_host, planes=options.decode == "planes")
        digests = DigestCheck(manifest, reader) if options.compares else None
        planes = options.decode == "planes"
        self.executor = Executor(reader, manifest, self.sizes, options.threads, planes=planes, check=digests)
        self.decoder = GpuDecoder(self.executor, self.device) if options.decode == "gpu" else None
        stream = self.decoder.stream if self.decoder else None
        self._buffers = BufferPool(pinned=self.device.type == "cuda", varying=self.crop_on_device, stream=stream)
        self.times = self.executor.times

    def __len__(self) -> int:
        return len(self.plan)

    @property
    def skipped(self) -> dict[int, str]:
        """Damaged rows that were replaced, and why."""
        return self.replacer.skipped

    @begun
    def epoch(self, number: int, start: int = 0) -> Generator[Batch | None, None, None]:
        """Batches `start`.. of epoch `number`, on the device, rendered. The first ones are read from now on."""
        with closing(self.host_batches(number, start)) as batches:
            yield
            yield from self.rendered(batches)

    def rendered(self, hosts: Iterable[HostBatch]) -> Iterator[Batch]:
        """Batches of the host on the device, rendered; while one is consumed, the next is copied."""
        for host in copied_ahead(iter(hosts), self._side, self.times):
            with self.times.spent("render"):
                batch = self._render(host)
            yield batch

    def batch(self, rows: np.ndarray, epoch: int, occurrence: int | np.ndarray = 0) -> Batch:
        """Samples `rows` [N] as an epoch shows them, whatever its order; `occurrence` as of `Step`."""
        self.reader.prefetch(iter([rows]))
        pending = self._allocate(batch_params(self.manifest, self.views, rows, self.plan.seed, epoch, occurrence))
        complete = self._complete(pending, self._start(pending), epoch)
        (host,) = copied_ahead(iter([complete.host]), self._side, self.times)
        return self._render(host)

    def close(self) -> None:
        """End the threads and close the reader."""
        self.executor.close()
        if self.decoder:
            self.decoder.close()
        self.reader.close()

    @begun
    def host_batches(self, number: int, start: int = 0) -> Generator[HostBatch | None, None, None]:
        """The input of `epoch`: uint8 pixels on the host with the parameters of the remaining ops. On a CPU the pixels
        are valid until the next batch is asked for, whose memory they share."""
        self.reader.prefetch(self.plan.ids(number, start))
        pending = map(self._allocate, self._params(self.plan.steps(number, start), number))
        with closing(prefetch(pending, self._start, ahead(self.device))) as started:
            yield
            for batch, tasks in started:
                complete = self._complete(batch, tasks, number)
                try:
                    yield complete.host
                finally:
                    self._buffers.give_back(complete.buffer)

    def _params(self, steps: Iterable[Step], epoch: int) -> Iterator[BatchParams]:
        params = batch_params_ahead(self.manifest, self.views, steps, self.plan.seed, epoch)
        while True:
            with self.times.spent("draw"):
                batch = next(params, None)
            if batch is None:
                return
            yield batch

    def _allocate(self, params: BatchParams) -> Pending:
        hw = self.manifest.hw[params.rows]
        decoded = int(3 * hw.astype(np.int64).prod(axis=1).sum())
        length = decoded if self.crop_on_device else self.executor.bytes_for(len(hw))
        if length > LARGE and length > (free := free_memory()):
            raise UserError(
                f"the {len(hw)} decoded images of a batch take {length / 1e9:.1f} GB, {free / 1e9:.1f} GB are free: "
                "choose a smaller batch, or --crops host"
            )
        buffer = self._buffers.take(length)
        if self.crop_on_device:
            pixels = DecodedImages(buffer[:length], hw, torch.from_numpy(params.boxes), self.sizes, self.compiled)
        else:
            pixels = CroppedViews(buffer[:length], self.sizes)
        host = HostBatch(pixels, params.packed, params.keys, params.target, torch.from_numpy(params.rows))
        return Pending(params, host, buffer)

    def _start(self, pending: Pending) -> list[Task]:
        params, flat = pending.params, pending.host.pixels.flat
        if self.decoder:
            return self.decoder.start(params.rows, flat)
        if self.crop_on_device:
            return self.executor.decode(params.rows, flat.numpy())
        return self.executor.crop(params.rows, params.boxes, flat.numpy())

    def _complete(self, pending: Pending, tasks: Sequence[Task], epoch: int) -> Pending:
        """Wait for a batch; if samples of it are damaged, for one with replacements."""
        for tries in count():
            if not (failed := self.executor.wait(tasks)):
                break
            rows, occurrence = pending.params.rows, pending.params.occurrence
            rows = self.replacer.replace(rows, failed, epoch, tries, occurrence)
            self._buffers.give_back(pending.buffer)
            pending = self._allocate(batch_params(self.manifest, self.views, rows, self.plan.seed, epoch, occurrence))
            tasks = self._start(pending)
        samples = len(pending.params.rows)
        self.times["samples"] += samples
        self.executor.workers.done(samples)
        return pending

    def _render(self, host: HostBatch) -> Batch:
        views = tuple(
            apply_user_ops(view, self.render(on_device(view), pixels, packed, self.dtype), keys)
            for view, pixels, packed, keys in zip(
                self.views, host.pixels.views(), host.packed, host.keys.unbind(1), strict=True
            )
        )
        return Batch(views, host.target, host.index)
