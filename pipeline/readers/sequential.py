"""The sequential reader: tars as streams, for storage that is slow at random reads and fast at sequential ones.

Tars are read in the order in which the rows of `prefetch(rows)` first use them, in pieces of up to 8 MiB, and samples
are cut out of the pieces at the offsets of the manifest; they are held in memory until they are read. The plan sets the
order, so the batches are the same as through every other reader, and a resumed epoch streams only the tars that are
left. The reader holds at most as many bytes as the `window` largest tars have, twice that while threads read out of
order, and beside them one piece and the samples just cut from it; what the window of `WindowShuffle` leaves free is
used to read ahead. Of the order it knows the next rows alone, as many as two such windows have (some 100 bytes each).
Every rank streams each tar that it has samples in.
"""

from collections.abc import Iterator
from contextlib import closing
from itertools import chain, islice
from shlex import quote
from typing import Any

import numpy as np

from ...shards.errors import UserError, needs
from ...shards.formats.tar import BLOCK
from ...shards.manifest import Manifest
from ..batch import SampleReader
from .pieces import Cutter, pieces, skip
from .remote import tar_storage
from .reorder import Groups, ReorderBuffer, Turns
from .turns import Turn, turns

WINDOW = 8  # tars
READ_TIMEOUT = 600.0  # seconds
TarStream = Any  # an open file, or webdataset's pipe


class SequentialTarReader(SampleReader):
    """Streams tars from a folder, a URL or a command: `pipe` writes the tar {file} to its output, through the
    webdataset library and a shell. A read waits at most `read_timeout` seconds while nothing arrives. UserError for a
    tar whose name says more to a shell than a name."""

    random_access = False

    def __init__(self, manifest: Manifest, window: int = WINDOW, pipe: str = "", read_timeout: float = READ_TIMEOUT):
        manifest.require("webdataset")
        if window < 1:
            raise UserError(f"a window of {window} tars holds nothing: give 1 or more")
        self.manifest, self.window, self.pipe, self.read_timeout = manifest, window, pipe, read_timeout
        self.storage, self.cutter = tar_storage(manifest), Cutter(manifest)
        self.gopen = needs("webdataset.gopen").gopen if pipe else None
        self.tars = [line for line in manifest.info.files if line["file"].endswith(".tar")]
        names = [line["file"] for line in self.tars]
        if pipe and (odd := [name for name in names if name.startswith("-") or quote(name) != name]):
            raise UserError(
                f"{manifest.root} names a tar {odd[0]!r}, which a command could take for an option or more words: "
                "give its tars names of letters, digits, . _ and -, and index them again"
            )
        self.room = sum(sorted(line["bytes"] for line in self.tars)[-window:])  # bytes
        self._buffer: ReorderBuffer | None = None

    def prefetch(self, rows: Iterator[np.ndarray]) -> None:
        """Start to stream `rows`, which will be read in about this order, each as often as it is listed. UserError when
        the order mixes more tars than the window holds."""
        self._stop_streaming()
        order = turns(
            rows,
            self.manifest,
            self.room,
            f"this order mixes more tars at a time than a window of {self.window} holds ({self.room:,} bytes): take "
            f"--order blocks with a window of at most {self.window}, or give a larger one",
        )
        begin = [*islice(order, self.window)]  # now, so that a refusal comes before any read
        self._buffer = ReorderBuffer(self._streams(chain(begin, order)), self.room, self.read_timeout)

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

    def _streams(self, order: Iterator[Turn]) -> Turns:
        """The samples of each turn; UserError for one that is missing or has another length."""
        for turn in order:
            rows = np.array([*turn.times])
            self.manifest.check(rows)
            rows = rows[np.argsort(self.manifest.offset[rows], kind="stable")]
            yield turn.times, self._of_tar(self.tars[turn.shard]["file"], rows)

    def _of_tar(self, name: str, rows: np.ndarray) -> Groups:
        """The samples of `rows` in one tar; `rows` are in the order of the tar."""
        begin = self.manifest.offset[rows] - BLOCK  # of the header
        end = begin + BLOCK + self.manifest.bytes[rows]
        at = done = 0
        try:
            with closing(self._opened(name)) as stream:
                for part in pieces(begin, end):
                    first, last = int(begin[part][0]), int(end[part][-1])
                    skip(stream, at, first, seek=not self.pipe)
                    at = last
                    for group in self.cutter.groups(rows[part], stream.read(last - first), first):
                        done += len(group)
                        yield group
        except UserError:
            raise
        except Exception as error:  # webdataset and each storage raise errors of their own, the cutter ValueError
            if done < len(rows):  # else a command was ended before its end, which is no fault
                reason = getattr(error, "strerror", None) or (error.args[0] if error.args else "")
                raise self._damaged(int(rows[done]), name, str(reason) or type(error).__name__) from error

    def _opened(self, name: str) -> TarStream:
        if self.gopen:
            return self.gopen(f"pipe:{self.pipe.replace('{file}', name)}")
        return self.storage.open(name)

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
