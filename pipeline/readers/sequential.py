"""The sequential reader: tars as streams, for storage that is slow at random reads and fast at sequential ones.

The `webdataset` library reads whole tars, in the order in which the rows of `prefetch(rows)` first use them; samples
are held in memory until they are read. The plan sets the order, so the batches are the same as through every other
reader, and a resumed epoch streams only the tars that are left. The reader holds at most as many bytes as the `window`
largest tars have, twice that while threads read out of order; what the window of `WindowShuffle` leaves free is used to
read ahead. Every rank streams each tar that it has samples in.
"""

import shlex
from contextlib import closing
from typing import Any

import numpy as np

from ...shards.errors import UserError, needs
from ...shards.manifest import Manifest
from ..batch import SampleReader
from .remote import tar_storage
from .reorder import ReorderBuffer, Samples
from .shard_use import last_use, peak_bytes, shard_use

WINDOW = 8  # tars
READ_TIMEOUT = 600.0  # seconds
TarStream = Any  # an open file, or webdataset's pipe


class SequentialTarReader(SampleReader):
    """Streams tars from a folder, a URL or a command: `pipe` writes the tar {file} to its output. A read waits at most
    `read_timeout` seconds while nothing arrives."""

    def __init__(self, manifest: Manifest, window: int = WINDOW, pipe: str = "", read_timeout: float = READ_TIMEOUT):
        manifest.require("webdataset")
        if window < 1:
            raise UserError(f"a window of {window} tars holds nothing: give 1 or more")
        self.manifest, self.window, self.pipe, self.read_timeout = manifest, window, pipe, read_timeout
        self.storage = tar_storage(manifest)
        self.library, self.gopen = needs("webdataset.tariterators"), needs("webdataset.gopen").gopen
        self.tars = [line for line in manifest.info.files if line["file"].endswith(".tar")]
        self.room = sum(sorted(line["bytes"] for line in self.tars)[-window:])  # bytes
        _ = manifest.keys  # loaded now, before the thread asks for names
        self.members = manifest.strings("source") if manifest.info.kind == "indexed" else None
        self._buffer: ReorderBuffer | None = None

    def prefetch(self, rows: np.ndarray) -> None:
        """Start to stream `rows` [M], which will be read in about this order, each as often as it is listed.
        UserError when the order mixes more tars than the window holds."""
        self._stop_streaming()
        shard = self.manifest.shard[rows]
        order = shard_use(shard)
        distinct, last = last_use(rows)
        number = np.argsort(order.shard)[np.searchsorted(np.sort(order.shard), self.manifest.shard[distinct])]
        needed = peak_bytes(order.first, number, last, self.manifest.bytes[distinct])
        if needed > self.room:
            raise UserError(
                f"this order needs {needed:,} bytes of samples at a time, a window of {self.window} tars holds "
                f"{self.room:,}: take --order blocks with a window of at most {self.window}, or give a larger one"
            )
        times = np.bincount(rows, minlength=len(self.manifest))
        self._buffer = ReorderBuffer(self._samples(distinct, order.shard), times, self.room, self.read_timeout)

    def read(self, row: int) -> bytes:
        """JPEG of a row; UserError for one that was not prefetched, or not as often, and for a fault of its tar."""
        if self._buffer is None:
            raise UserError(f"sample {row} was not expected: pass the rows of the epoch to prefetch() first")
        return self._buffer.take(row)

    def locate(self, row: int) -> str:
        return self._shown(self.tars[self.manifest.shard[row]]["file"])

    def close(self) -> None:
        """End the stream; reads that wait get a UserError."""
        self._stop_streaming()

    def _samples(self, rows: np.ndarray, shards: np.ndarray) -> Samples:
        """The samples of `rows`, tar by tar; UserError for one that is missing or has another length."""
        m = self.manifest
        rows = rows[np.lexsort((m.offset[rows], m.shard[rows]))]
        begin, end = (np.searchsorted(m.shard[rows], shards, side) for side in ("left", "right"))
        for shard, *bounds in zip(shards.tolist(), begin, end, strict=True):
            yield from self._tar_samples(self.tars[shard]["file"], rows[slice(*bounds)])

    def _tar_samples(self, name: str, rows: np.ndarray) -> Samples:
        """The samples of `rows` in one tar; `rows` are in the order of the tar."""
        left = {self._member(row): row for row in rows.tolist()}
        cause = "it is not in the tar"
        try:
            with closing(self._opened(name)) as stream:
                for member in self.library.tar_file_expander(
                    [{"url": name, "stream": stream}],
                    select_files=left.__contains__,
                    rename_files=lambda member: member.removeprefix("./"),
                    eof_value=None,
                ):
                    data, row = member["data"], left[member["fname"]]
                    if len(data) != self.manifest.bytes[row]:
                        raise self._damaged(row, name, f"it has {len(data)} bytes, not {self.manifest.bytes[row]}")
                    del left[member["fname"]]
                    yield row, data
                    if not left:
                        return
        except UserError:
            raise
        except Exception as error:  # tarfile, webdataset and each storage raise errors of their own
            reason = getattr(error, "strerror", None) or (error.args[0] if error.args else "")
            cause = str(reason) or type(error).__name__
        if left:
            raise self._damaged(next(iter(left.values())), name, cause)

    def _opened(self, name: str) -> TarStream:
        if self.pipe:
            return self.gopen(f"pipe:{self.pipe.replace('{file}', shlex.quote(name))}")
        return self.storage.open(name)

    def _member(self, row: int) -> str:
        return self.members[row] if self.members else f"{self.manifest.keys[row]}.jpg"

    def _damaged(self, row: int, name: str, cause: str) -> UserError:
        repairs = "" if self.manifest.info.kind == "indexed" else ", which also repairs a local set"
        return UserError(
            f"sample {row} ({self.manifest.key(row)}) cannot be streamed from {self._shown(name)} ({cause}): "
            f"check the tar with tools/verify_shards.py{repairs}"
        )

    def _shown(self, name: str) -> str:
        return f"{self.pipe} ({name})" if self.pipe else self.storage.show(name)

    def _stop_streaming(self) -> None:
        if self._buffer:
            self._buffer.close()
            self._buffer = None


open_reader = SequentialTarReader
