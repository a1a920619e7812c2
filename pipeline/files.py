"""Reading pieces of files from many threads."""

import errno
import os
from io import FileIO
from pathlib import Path

from ..shards.errors import UserError


class Pieces:
    """`pread` on files that stay open: no shared position, no lock, no copy of the file in this process.

    Not mmap: a file cut short under a mapping kills the process, a short read is an error that can name the sample.
    """

    def __init__(self, paths: list[Path]):
        self.paths = paths
        self._files = [self._open(path) for path in paths]

    def read(self, file: int, offset: int, length: int) -> bytes:
        """`length` bytes of file number `file`; UserError when it ends before them."""
        data = os.pread(self._files[file].fileno(), length, offset)
        if len(data) < length:
            raise UserError(
                f"{self.paths[file]} ends at byte {offset + len(data)}, inside a sample: the file is truncated, "
                f"build the set again"
            )
        return data

    def close(self) -> None:
        for file in self._files:
            file.close()

    @staticmethod
    def _open(path: Path) -> FileIO:
        try:
            return path.open("rb", buffering=0)
        except OSError as error:
            if error.errno == errno.EMFILE:
                raise UserError(f"cannot open {path}: too many open files, raise the limit with `ulimit -n`") from None
            raise UserError(f"cannot open {path} ({error.strerror}): the set is incomplete, build it again") from None
