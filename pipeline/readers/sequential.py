"""Tars as streams: for storage that is slow at random and fast from one end to the other.

The `webdataset` library reads whole tars, in the order in which `prefetch(rows)` comes to them; what the rows need is
held in memory until it is read. The order is the plan's, so the batches are those of every other reader, and a resumed
epoch streams only the tars that are left. At most as many bytes are held as the `window` largest tars have, twice that
while threads read out of order; what the window of `WindowShuffle` leaves of it is read ahead. Every rank streams each
tar that it has samples of.
"""

import shlex
from contextlib import closing
from typing import Any

import numpy as np

from ...shards.errors import UserError, needs
from ...shards.manifest import Manifest
from .remote import home
from .reorder import ReorderBuffer, Samples
from .shard_use import last_use, peak_bytes, shard_use

WINDOW = 8  # tars
READ_TIMEOUT = 600.0  # seconds
TarStream = Any  # an open file, or webdataset's pipe


class SequentialTarReader:
    """The reader. `pipe` is a command that writes tar {file} to its output, where neither path nor URL will do;
    `read_timeout` is how many seconds a read waits while nothing moves."""

    def __init__(self, manifest: Manifest, window: int = WINDOW, pipe: str = "", read_timeout: float = READ_TIMEOUT):
        manifest.require("webdataset")
        if window < 1:
            raise UserError(f"a window of {window} tars holds nothing: give 1 or more")
        self.manifest, self.window, self.pipe, self.read_timeout = manifest, window, pipe, read_timeout
        self.home = home(manifest)
        self.library, self.gopen = needs("webdataset.tariterators"), needs("webdataset.gopen").gopen
        self.tars = [line for line in manifest.info.files if line["file"].endswith(".tar")]
        self.room = sum(sorted(line["bytes"] for line in self.tars)[-window:])  # bytes held at most
        _ = manifest.keys  # read once, before the thread asks for names
        self.members = manifest.strings("source") if manifest.info.kind == "indexed" else None
        self._buffer: ReorderBuffer | None = None

    def prefetch(self, rows: np.ndarray) -> None:
        """Begin to stream for `rows` [M], which will be read in about this order, each as often as it is in it.
        UserError when the order jumps between more tars than the window holds."""
        self._end()
        shard = self.manifest.shard[rows]
        order = shard_use(shard)
        distinct, last = last_use(rows)
        number = np.argsort(order.shard)[np.searchsorted(np.sort(order.shard), self.manifest.shard[distinct])]
        needed = peak_bytes(order.first, number, last, self.manifest.bytes[distinct])
        if needed > self.room:
            raise UserError(
                f"this order needs {needed:,} bytes of samples side by side, a window of {self.window} tars holds "
                f"{self.room:,}: take --order blocks with a window of at most {self.window}, or give a larger one"
            )
        times = np.bincount(rows, minlength=len(self.manifest))
        self._buffer = ReorderBuffer(self._samples(distinct, order.shard), times, self.room, self.read_timeout)

    def read(self, row: int) -> bytes:
        """The JPEG of a row; UserError for one that was not expected, or not that often, and for what is wrong with its
        tar."""
        if self._buffer is None:
            raise UserError(f"sample {row} was not expected: a sequential loader is told an epoch's order first")
        return self._buffer.take(row)

    def locate(self, row: int) -> str:
        """Where a sample lies, for messages."""
        return self._where(self.tars[self.manifest.shard[row]]["file"])

    def close(self) -> None:
        """End the streams; nobody reads any more."""
        self._end()

    def _samples(self, rows: np.ndarray, shards: np.ndarray) -> Samples:
        """The samples of `rows`, tar after tar; UserError for one that is absent or not as it should be."""
        m = self.manifest
        rows = rows[np.lexsort((m.offset[rows], m.shard[rows]))]
        begin, end = (np.searchsorted(m.shard[rows], shards, side) for side in ("left", "right"))
        for shard, *mine in zip(shards.tolist(), begin, end, strict=True):
            yield from self._of_tar(self.tars[shard]["file"], rows[slice(*mine)])

    def _of_tar(self, name: str, rows: np.ndarray) -> Samples:
        """Those of one tar, in its order, which is that of `rows`."""
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
        except Exception as error:  # tarfile, the library and what it reads from have errors of many kinds
            told = getattr(error, "strerror", None) or (error.args[0] if error.args else "")
            cause = str(told) or type(error).__name__
        if left:
            raise self._damaged(next(iter(left.values())), name, cause)

    def _opened(self, name: str) -> TarStream:
        if self.pipe:
            return self.gopen(f"pipe:{self.pipe.replace('{file}', shlex.quote(name))}")
        return self.home.open(name)

    def _member(self, row: int) -> str:
        return self.members[row] if self.members else f"{self.manifest.keys[row]}.jpg"

    def _damaged(self, row: int, name: str, cause: str) -> UserError:
        return UserError(
            f"sample {row} ({self.manifest.keys[row]}) cannot be streamed from {self._where(name)} ({cause}): "
            "is the tar whole? tools/verify_shards.py tells, and mends a local set"
        )

    def _where(self, name: str) -> str:
        return f"{self.pipe} ({name})" if self.pipe else self.home.show(name)

    def _end(self) -> None:
        if self._buffer:
            self._buffer.close()
            self._buffer = None


open_reader = SequentialTarReader
