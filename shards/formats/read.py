"""The bytes of a built set by row, from any thread, with numpy and pyarrow alone.

`open_tar`, `open_beton` and `open_folder` return a reader with `read(row)` and `close()`.
"""

import errno
import os
from io import FileIO
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..manifest import Manifest
from .beton import RAW, Layout


class OpenFiles:
    """`pread` on files that stay open: no shared position, no lock, no copy of the file in this process.

    Not mmap: a file cut short under a mapping kills the process, a short read is an error that can name the sample.
    """

    def __init__(self, paths: list[Path]):
        self.paths = paths
        self._files = [_open(path) for path in paths]

    def read(self, file: int, offset: int, length: int) -> bytes:
        """`length` bytes of file number `file`; UserError when it ends before them."""
        data = os.pread(self._files[file].fileno(), length, offset)
        if len(data) < length:
            raise UserError(
                f"{self.paths[file]} ends at byte {offset + len(data)}, inside a sample: the file is truncated, "
                f"`python tools/verify_shards.py {self.paths[file].parent} --repair` mends it"
            )
        return data

    def prefetch(self) -> None:
        """Ask the kernel to read the files into its cache."""
        for file in self._files:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        for file in self._files:
            file.close()


def _open(path: Path) -> FileIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        if error.errno == errno.EMFILE:
            raise UserError(f"cannot open {path}: too many open files, raise the limit with `ulimit -n`") from error
        raise UserError(
            f"cannot open {path} ({error.strerror}): the set is incomplete, "
            f"`python tools/verify_shards.py {path.parent} --repair` mends it"
        ) from error


class TarReader:
    """JPEG members of local tars, by the offsets that the manifest keeps."""

    def __init__(self, manifest: Manifest):
        manifest.require("webdataset")
        self.manifest, self.files = manifest, OpenFiles(manifest.tars())

    def read(self, row: int) -> bytes:
        m = self.manifest
        return self.files.read(int(m.shard[row]), int(m.offset[row]), int(m.bytes[row]))

    def locate(self, row: int) -> str:
        return f"{self.files.paths[self.manifest.shard[row]]} at byte {self.manifest.offset[row]}"

    def prefetch(self, rows: np.ndarray) -> None:
        """The page cache does well alone."""

    def close(self) -> None:
        self.files.close()


class BetonReader:
    """Samples of a .beton by the number that the manifest keeps for each row; no ffcv needed."""

    def __init__(self, manifest: Manifest):
        manifest.require("ffcv")
        path = manifest.beton_path()
        self.rows, self.files = manifest.beton, OpenFiles([path])
        self.layout = Layout.of(path)
        if len(self.layout.where) < len(manifest):
            raise UserError(f"{path} holds {len(self.layout.where)} samples, the manifest {len(manifest)}: repair it")

    def read(self, row: int) -> bytes | np.ndarray:
        """JPEG bytes, or [H, W, 3] uint8 of a sample that is stored decoded."""
        at, layout = self.rows[row], self.layout
        data = self.files.read(0, int(layout.where[at]), int(layout.size[at]))
        if layout.mode[at] != RAW:
            return data
        return np.frombuffer(data, np.uint8).reshape(int(layout.height[at]), int(layout.width[at]), 3)

    def locate(self, row: int) -> str:
        return f"{self.files.paths[0]}, its sample {self.rows[row]}"

    def prefetch(self, rows: np.ndarray) -> None:
        """The page cache does well alone."""

    def close(self) -> None:
        self.files.close()


class FolderReader:
    """Files by key."""

    def __init__(self, manifest: Manifest):
        manifest.require("folder")
        self.manifest = manifest
        _ = manifest.keys  # read once, before threads ask for paths

    def read(self, row: int) -> bytes:
        path = self.manifest.path(row)
        try:
            return path.read_bytes()
        except OSError as error:
            raise UserError(
                f"cannot read {path} ({error.strerror}): the set is incomplete, "
                f"`python tools/verify_shards.py {self.manifest.root} --repair` mends it"
            ) from error

    def locate(self, row: int) -> str:
        return str(self.manifest.path(row))

    def prefetch(self, rows: np.ndarray) -> None:
        """The page cache does well alone."""

    def close(self) -> None:
        """Every file was closed as it was read."""


open_tar, open_beton, open_folder = TarReader, BetonReader, FolderReader
