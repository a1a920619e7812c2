"""Readers for tar, .beton and folder: samples by row, from any thread, with numpy and pyarrow alone.

`open_tar`, `open_beton` and `open_folder` return a `SampleReader`.
"""

import errno
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..manifest import Manifest, file_of
from ..names import regular
from ..rows import DEPTH
from .beton import RAW, Layout
from .reader import Extents, SampleReader


class OpenFiles:
    """Files that stay open and are read with `pread`: no shared position, no lock, no copy of the file in memory.

    Not mmap: truncating a mapped file kills the process, while a short read is an error that names the file.
    """

    def __init__(self, paths: list[Path], manifest: Manifest):
        self.paths, self.repair = paths, manifest.repair()  # what helps, for messages
        self._files = [_open(path, self.repair) for path in paths]
        self.descriptors = np.array([file.fileno() for file in self._files], np.int64)
        self.sizes = np.array([os.fstat(file.fileno()).st_size for file in self._files], np.int64)
        self.most = DEPTH * manifest.max_pixels  # bytes of a sample

    def extents(self, file: np.ndarray, first: np.ndarray, size: np.ndarray) -> Extents:
        """`size` [N] bytes at `first` [N] of files number `file` [N]; 0 bytes of what is not in its file or too large:
        `read` names it."""
        known = (file >= 0) & (file < len(self.paths))
        file = np.where(known, file, 0)
        inside = known & (first >= 0) & (size >= 0) & (size <= self.most) & (first <= self.sizes[file] - size)
        return Extents(self.descriptors[file], np.where(inside, first, 0), np.where(inside, size, 0))

    def read(self, file: int, offset: int, length: int) -> bytes:
        """`length` bytes at `offset` of file number `file`; UserError when the file ends before, or for more than a
        sample may have."""
        if not 0 <= file < len(self.paths) or offset < 0 or not 0 <= length <= self.most:
            raise UserError(
                f"a sample of {length:,} bytes at byte {offset:,} of file {file} of {len(self.paths)} is out of "
                f"bounds, the manifest is damaged: {self.repair}"
            )
        data = os.pread(self._files[file].fileno(), min(length, max(0, int(self.sizes[file]) - offset)), offset)
        if len(data) < length:
            raise UserError(
                f"{self.paths[file]} ends at byte {offset + len(data)}, inside a sample: the file is truncated, "
                f"{self.repair}"
            )
        return data

    def prefetch(self) -> None:
        """Ask the kernel to read the files into its cache; macOS cannot be asked."""
        for file in self._files if hasattr(os, "posix_fadvise") else ():
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)

    def close(self) -> None:
        for file in self._files:
            file.close()


def _open(path: Path, repair: str) -> FileIO:
    try:
        return FileIO(path, opener=regular)
    except OSError as error:
        if error.errno == errno.EMFILE:
            raise UserError(f"cannot open {path}: too many open files, raise the limit with `ulimit -n`") from error
        raise UserError(f"cannot open {path} ({error.strerror}): the set is incomplete, {repair}") from error


class Fields:
    """Where the members of samples are in their tars; the columns of the manifest are read when they are first used."""

    def __init__(self, manifest: Manifest):
        self.manifest = manifest
        self._columns = {"": (manifest.offset, manifest.bytes)}

    def span(self, row: int, field: str) -> tuple[int, int]:
        """First byte and size of a member; of the JPEG without a name."""
        if field not in self._columns:
            self._columns[field] = self.manifest.field(field)
        first, size = self._columns[field]
        return (0, 0) if field and first[row] < 0 else (int(first[row]), int(size[row]))  # some samples lack it


def image_only(field: str, what: str) -> None:
    """UserError for a `field` of a sample in `what`, a format without any."""
    if field:
        raise UserError(f"{what} holds image and label only: read .{field} from the tars, with open_tar")


Opener = Callable[[list[Path], Manifest], OpenFiles]  # another kind of open files


class TarReader(SampleReader):
    """Reads members of local tars at the offsets in the manifest."""

    def __init__(self, manifest: Manifest, opened: Opener = OpenFiles):
        manifest.require("webdataset")
        self.manifest, self.files = manifest, opened(manifest.tars(), manifest)
        self.fields = Fields(manifest)

    def read(self, row: int, field: str = "") -> bytes:
        """JPEG of a row, or another member of the sample, such as `txt`; b"" where a sample lacks that one. UserError
        for a member that the set was not built or indexed with (`--fields`)."""
        shard = int(self.manifest.shard[row])
        return self.files.read(shard, *self.fields.span(row, field))

    def extents(self, rows: np.ndarray) -> Extents:
        m = self.manifest
        return self.files.extents(*(column[rows].astype(np.int64) for column in (m.shard, m.offset, m.bytes)))

    def locate(self, row: int) -> str:
        return f"{self.files.paths[self.manifest.shard[row]]} at byte {self.manifest.offset[row]}"

    def close(self) -> None:
        self.files.close()


class BetonReader(SampleReader):
    """Reads samples of a .beton by their number in the manifest; needs no ffcv."""

    def __init__(self, manifest: Manifest, opened: Opener = OpenFiles):
        manifest.require("ffcv")
        paths = manifest.betons()
        self.rows, self.files = manifest.beton, opened(paths, manifest)
        self.layout = Layout.of(*paths)
        if len(self.layout.where) < len(manifest):
            held = f"{paths[0]} holds {len(self.layout.where)} samples"
            raise UserError(f"{held}, the manifest {len(manifest)}: {manifest.repair()}")

    def read(self, row: int, field: str = "") -> bytes | np.ndarray:
        """JPEG bytes, or [H, W, 3] uint8 of a sample that is stored decoded. UserError for any `field`."""
        image_only(field, "a .beton")
        at, layout = self._number(row), self.layout
        data = self.files.read(int(layout.file[at]), int(layout.where[at]), int(layout.size[at]))
        if layout.mode[at] != RAW:
            return data
        return np.frombuffer(data, np.uint8).reshape(int(layout.height[at]), int(layout.width[at]), 3)

    def _number(self, row: int) -> int:
        """The number of a sample in the .beton; UserError if there is none."""
        if 0 <= (at := int(self.rows[row])) < len(self.layout.where):
            return at
        raise UserError(
            f"sample {row} has number {at} of the {len(self.layout.where)} in {self.files.paths[0]}: "
            f"{self.files.repair}"
        )

    def extents(self, rows: np.ndarray) -> Extents | None:
        at, layout = self.rows[rows], self.layout
        known = (at >= 0) & (at < len(layout.where))
        at = np.where(known, at, 0)
        size = np.where(known & (layout.mode[at] != RAW), layout.size[at], 0).astype(np.int64)
        return self.files.extents(layout.file[at], layout.where[at].astype(np.int64), size)

    def locate(self, row: int) -> str:
        at = self._number(row)
        file = int(self.layout.file[at])
        return f"{self.files.paths[file]}, its sample {at - int(np.searchsorted(self.layout.file, file))}"

    def close(self) -> None:
        self.files.close()


class FolderReader(SampleReader):
    """Reads one file per sample, named by its key."""

    def __init__(self, manifest: Manifest):
        manifest.require("folder")
        self.manifest, self.static = manifest, manifest.info.static
        self.keys = manifest.packed("key")  # read now, before threads ask for paths

    def read(self, row: int, field: str = "") -> bytes:
        """JPEG of a row. UserError for any `field`."""
        image_only(field, "the folder format")
        try:
            length = int(self.manifest.bytes[row])
            with FileIO(self._path(row), opener=regular) as file:
                data = file.read(length + 1)  # no further: the file may have grown to any size
            if len(data) == length:
                return data
            raise OSError(0, f"it has {'more' if len(data) > length else 'less'} than its {length:,} bytes")
        except OSError as error:
            raise UserError(
                f"cannot read {self._path(row)} ({error.strerror}): the set is incomplete, {self.manifest.repair()}"
            ) from error

    def locate(self, row: int) -> str:
        return self._path(row)

    def _path(self, row: int) -> str:  # no Path: a third faster
        return file_of(self.manifest.root, self.keys[row].as_py(), self.static)


open_tar = TarReader
"""A reader of the tars of a built set: `open_tar(data).read(row)`."""
open_beton = BetonReader
"""A reader of the `.beton` of a built set."""
open_folder = FolderReader
"""A reader of the class folders of a built set."""
