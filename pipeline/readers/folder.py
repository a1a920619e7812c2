"""The folder reader: a file a sample. The plain reference, and the one that needs the least: a set built with
`--format folder`, one built with `--keep` beside the files it was made from, or class folders that nobody built."""

import hashlib
from pathlib import Path

import numpy as np

from ...shards.encoding.encode import Damaged, encode
from ...shards.engine import threaded
from ...shards.errors import UserError
from ...shards.formats.read import FolderReader
from ...shards.manifest import Manifest
from ...shards.plain import KEPT, Plain, damaged
from ...shards.sources.local import Local
from ...shards.sources.readers import Files
from ..batch import SampleReader

REMEDY = "or build it with `python tools/build_shards.py --format folder ...`"
DIGEST = 32  # bytes


def open_reader(manifest: Manifest, source: str = "") -> SampleReader:
    """The files of a set; `source` is the folder that a `--keep` set was built from, needed only where the set has no
    files of its own. UserError when there is no file that holds a sample's bytes."""
    if isinstance(manifest, Plain):
        return PlainFolderReader(manifest)
    if "folder" in manifest.info.formats or manifest.info.kind != "kept":
        return FolderReader(manifest)
    return KeptSourceReader(manifest, source)


class PlainFolderReader:
    """The images of a folder without a build; odd ones become plain JPEGs as they are read."""

    def __init__(self, manifest: Plain):
        self.files, self.names, self.odd = Local(manifest.root), manifest.strings("source"), manifest.odd

    def read(self, row: int) -> bytes:
        """The JPEG that a build with `--keep` would store."""
        try:
            data = self.files.read(self.names[row])
            if not self.odd[row]:
                return data
            return encode(data, KEPT).jpeg
        except (Damaged, OSError, ValueError, MemoryError) as error:
            raise damaged(self.files, self.names[row], error) from error

    def locate(self, row: int) -> str:
        return self.files.show(self.names[row])

    def prefetch(self, rows: np.ndarray) -> None:
        """The page cache does well alone."""

    def close(self) -> None:
        """Every file was closed as it was read."""


class KeptSourceReader:
    """The files that a set was built from, where the set holds them byte for byte. All sizes are compared at opening,
    a file's digest when it is read for the first time."""

    def __init__(self, manifest: Manifest, source: str):
        _refuse_changed(manifest)
        self.names = manifest.strings("source")
        self.files = _folder(manifest, source, self.names[0])
        _refuse_others(manifest, self.files, self.names)
        self._digests = b"".join(manifest.strings("sha256"))
        self._known = np.zeros(len(manifest), bool)

    def read(self, row: int) -> bytes:
        """The source file's bytes; UserError when they are no longer what the set was built from."""
        name = self.names[row]
        try:
            data = self.files.read(name)
        except OSError as error:
            raise UserError(
                f"cannot read {self.files.show(name)} ({error.strerror or error}): bring it back, {REMEDY}"
            ) from error
        if not self._known[row]:
            if hashlib.sha256(data).digest() != self._digests[DIGEST * row : DIGEST * (row + 1)]:
                raise UserError(f"{self.files.show(name)} has changed since the set was built: bring it back, {REMEDY}")
            self._known[row] = True
        return data

    def locate(self, row: int) -> str:
        return self.files.show(self.names[row])

    def prefetch(self, rows: np.ndarray) -> None:
        """The page cache does well alone."""

    def close(self) -> None:
        """Every file was closed as it was read."""


def _refuse_changed(manifest: Manifest) -> None:
    """UserError when the build made other images of some files, which it counted."""
    report = manifest.info.report
    kinds = report["normalised"] | ({"suspect": len(report["suspect"])} if report["suspect"] else {})
    if kinds:
        said = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        raise UserError(
            f"{_holds(manifest)}, and its source's files will not do: the build made other images of some ({said}); "
            f"choose a loader for what is there, {REMEDY}"
        )


def _folder(manifest: Manifest, source: str, name: str) -> Local:
    """The folder that the images' paths begin in: a half of the source, or all of it."""
    if not source:
        raise UserError(
            f"{_holds(manifest)}, but its source's files as they were: say where they are with --source, {REMEDY}"
        )
    whole, split = Local(Path(source).expanduser()), manifest.info.subset["split"]
    for files in (whole.inside(split), whole):
        if files.exists(name):
            return files
    raise UserError(f"{source} has no {split}/{name}, which the set was built from: name another --source, {REMEDY}")


def _refuse_others(manifest: Manifest, files: Local, names: list[str]) -> None:
    """UserError when files are absent or of other sizes than the set's samples."""
    sizes = np.fromiter(threaded(Files(files).size, names), np.int64, len(names))
    other = np.flatnonzero(sizes != manifest.bytes)
    if len(other):
        raise UserError(
            f"{len(other):,} of the {len(names):,} files under {files.show()} are absent or not as they were when the "
            f"set was built, the first {names[other[0]]}: name another --source, {REMEDY}"
        )


def _holds(manifest: Manifest) -> str:
    return f"{manifest.root} holds {', '.join(manifest.info.formats)}, not folder"
