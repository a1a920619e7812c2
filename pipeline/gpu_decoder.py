"""`--decode gpu`: whole batches of JPEGs from the executor's threads to nvJPEG, for the crops of the device.

The threads read and check; one more thread, with a stream of its own, decodes, since nvJPEG's call waits for the GPU
and must not hold up the thread that trains.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ..shards.errors import UserError
from .copy import side_stream
from .damage import JpegCheck, damaged
from .executor import Executor
from .nvjpeg import COLORS, decoded, open_nvjpeg
from .tasks import Chunk, Task

Samples = list[bytes | np.ndarray | None]  # None: not read


class GpuDecoder:
    """Decodes what `executor` reads, on `device`. UserError where there is no nvJPEG, and for a set without digests: by
    these alone it finds damage."""

    def __init__(self, executor: Executor, device: torch.device):
        self.executor, self.manifest, self.reader = executor, executor.manifest, executor.reader
        self._nvjpeg = open_nvjpeg(device)
        try:
            self._check = JpegCheck(self.manifest, self.reader)
        except UserError as error:
            raise UserError(f"--decode gpu finds damage by digests: {error}, or choose --decode cpu") from error
        self.stream = side_stream(device)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="viewstream-nvjpeg")

    def start(self, rows: np.ndarray, out: Tensor) -> list[Task]:
        """Start to read and decode samples `rows` [N], one after the other, into the flat uint8 `out` on the device.
        When the tasks are done, so is the GPU."""
        samples: Samples = [None] * len(rows)
        reads = self.executor.read(rows, self._ready, samples)
        return [*reads, self._pool.submit(self._decode, rows, reads, samples, out)]

    def close(self) -> None:
        """End the thread, once the executor is closed."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _ready(self, row: int, data: bytes | np.ndarray) -> bytes | np.ndarray:
        """A sound JPEG for nvJPEG, or pixels [H, W, 3]: stored so, or of a JPEG in other colors."""
        if isinstance(data, bytes) and self._check(row, data) in COLORS:
            return data
        return self.executor.decoded(row, data)

    def _decode(self, rows: np.ndarray, reads: Sequence[Task], samples: Samples, out: Tensor) -> Chunk:
        for task in reads:
            task.result()
        failed: dict[int, UserError] = {}
        start = time.perf_counter()
        with torch.cuda.stream(self.stream):
            jpegs = {i: data for i, data in enumerate(samples) if isinstance(data, bytes)}
            images = dict(zip(jpegs, decoded(self._nvjpeg, [*jpegs.values()]), strict=True))
            sizes = 3 * self.manifest.hw[rows].astype(np.int64).prod(axis=1)
            for i, place in enumerate(out.split(sizes.tolist())):
                match images.get(i, samples[i]):
                    case Tensor() | np.ndarray() as image:
                        _put(image, place)
                    case Exception() as error:
                        failed[i] = damaged(self.manifest, self.reader, int(rows[i]), str(error), jpegs[i])
        if self.stream:
            done = torch.cuda.Event(blocking=True)  # this thread sleeps meanwhile
            done.record(self.stream)
            done.synchronize()
        return Chunk((0.0, time.perf_counter() - start, 0.0), failed)


def _put(image: Tensor | np.ndarray, place: Tensor) -> None:
    """Copy an image, [3, H, W] on the device or [H, W, 3] on the host, to its place [H * W * 3]."""
    if isinstance(image, Tensor):
        pixels = image.permute(1, 2, 0)
    else:
        pixels = torch.from_numpy(image if image.flags.writeable else image.copy())
        pixels = pixels.pin_memory() if place.is_cuda else pixels
    place.view(pixels.shape).copy_(pixels, non_blocking=True)
