"""The JPEGs of a plan's batches, read ahead and checked for DALI, which fills what it cannot decode with gray."""

from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import count, pairwise
from typing import NamedTuple

import numpy as np
import simplejpeg

from ...shards.engine import begun, prefetch
from ...shards.errors import UserError
from ...shards.manifest import Manifest
from ..batch import SampleReader
from ..damage import JpegCheck, Replacer, damaged
from ..plan.step import Step
from ..reading import Reading, as_bytes, known


class Jpegs(NamedTuple):
    """A batch of this rank, which may be empty."""

    step: Step
    data: list[bytes]


class NoJpeg(UserError):
    """A sample stored as pixels. It is never replaced, since all samples of a set may be stored so."""

    def __init__(self, manifest: Manifest, row: int):
        super().__init__(
            f"sample {row} ({manifest.key(row)}) is stored as raw pixels, DALI decodes JPEGs: "
            "read another format of the set, or build it without --raw-fraction"
        )


class JpegReader:
    """Reads through `reader` on `threads` threads, `ahead` batches before they are asked for; `replacer` decides about
    damaged samples."""

    def __init__(self, manifest: Manifest, reader: SampleReader, threads: int, ahead: int, replacer: Replacer):
        self.manifest, self.reader, self.threads, self.replacer = manifest, reader, threads, replacer
        self.ahead, self._check = ahead, JpegCheck(manifest, reader)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="viewstream-read")

    @begun
    def epoch(self, steps: Iterable[Step], number: int) -> Generator[Jpegs | None, None, None]:
        """The JPEGs of each of `steps` in epoch `number`."""
        with closing(prefetch(steps, self._start, self.ahead)) as started:
            yield
            for step, tasks in started:
                yield self._complete(step, tasks, number)

    def replaced(self, step: Step, epoch: int) -> Jpegs:
        """The samples of `step`, a replacement for each that does not decode. Slow: each is decoded to find out."""
        rows, occurrence = step
        data, todo = [b""] * len(rows), list(range(len(rows)))
        for tries in count():
            failed: dict[int, UserError] = {}
            for position, result in zip(todo, self._pool.map(self._decodable, rows[todo].tolist()), strict=True):
                if isinstance(result, UserError):
                    failed[position] = result
                else:
                    data[position] = result
            if not failed:
                break
            rows, todo = self.replacer.replace(rows, failed, epoch, tries, occurrence), [*failed]
        return Jpegs(Step(rows, occurrence), data)

    def close(self) -> None:
        """End the threads; reads that have not begun are canceled."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _start(self, step: Step) -> list[Future[list[bytes]]]:
        reading, n = Reading(self.reader, step.rows), len(step.rows)
        bounds = np.linspace(0, n, self.threads + 1, dtype=int).tolist()
        return [self._pool.submit(self._checked_all, reading, range(a, b)) for a, b in pairwise(bounds) if a < b]

    def _complete(self, step: Step, tasks: Sequence[Future[list[bytes]]], epoch: int) -> Jpegs:
        try:
            return Jpegs(step, [jpeg for task in tasks for jpeg in task.result()])
        except NoJpeg:
            raise
        except UserError as error:
            if not self.replacer.allowed:
                raise self.replacer.final(error) from error
            return self.replaced(step, epoch)

    def _checked_all(self, reading: Reading, part: range) -> list[bytes]:
        return [
            self._checked(int(reading.rows[i]), as_bytes(known(data)))
            for i, data in zip(part, reading(part), strict=True)
        ]

    def _checked(self, row: int, data: bytes | np.ndarray) -> bytes:
        """The JPEG, which has the digest and the size of the manifest."""
        if isinstance(data, np.ndarray):
            raise NoJpeg(self.manifest, row)
        self._check(row, data)
        return data

    def _decodable(self, row: int) -> bytes | UserError:
        data = b""
        try:
            data = self._checked(row, self.reader.read(row))
            simplejpeg.decode_jpeg(data)
        except NoJpeg:
            raise
        except UserError as error:
            return error
        except (ValueError, RuntimeError) as error:
            return damaged(self.manifest, self.reader, row, str(error), data)
        return data
