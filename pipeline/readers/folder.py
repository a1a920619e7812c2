"""The folder reader: one file per sample. It is the reference for the other readers.

It reads three kinds of data: a set built with `--format folder`; a set built with `--keep`, from the source files; and
class folders of images without a build.
"""

import hashlib
from dataclasses import replace
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
from ...shards.sources.split import NAMES
from ..batch import SampleReader

REMEDY = "or build it with `python tools/build_shards.py --format folder ...`"
DIGEST = 32  # bytes


def open_reader(manifest: Manifest, source: str = "") -> SampleReader:
    """A reader for the files of a set. `source` is the folder that a `--keep` set was built from; only a set without
    the folder format needs it. UserError when no files hold the samples' bytes."""
    if isinstance(manifest, Plain):
        return PlainFolderReader(manifest)
    if "folder" in manifest.info.formats or manifest.info.kind != "kept":
        return FolderReader(manifest)
    return KeptSourceReader(manifest, source)


class PlainFolderReader(SampleReader):
    """Reads the images of a folder without a build; those that are no plain upright JPEGs are encoded at each read."""

    def __init__(self, manifest: Plain):
        self.files, self.names, self.odd = Local(manifest.root), manifest.strings("source"), manifest.odd
        self.encoding, self.sizes = replace(KEPT, max_pixels=manifest.max_pixels), manifest.bytes

    def read(self, row: int) -> bytes:
        """The JPEG that a build with `--keep` would store."""
        try:
            if not self.odd[row]:
                return self.files.read(self.names[row], 0, int(self.sizes[row]))
            return encode(self.files.read(self.names[row]), self.encoding).jpeg
        except (Damaged, OSError, ValueError, MemoryError) as error:
            raise damaged(self.files, self.names[row], error) from error

    def locate(self, row: int) -> str:
        return self.files.show(self.names[row])


class KeptSourceReader(SampleReader):
    """Reads the source files of a set that holds them byte for byte. Compares all sizes when it is opened, and the
    digest of a file when it is read for the first time."""

    def __init__(self, manifest: Manifest, source: str):
        _refuse_changed(manifest)
        self.names = manifest.strings("source")
        self.files = _folder(manifest, source, self.names[0])
        _refuse_sizes(manifest, self.files, self.names)
        self.sizes = manifest.bytes
        self._digests = b"".join(manifest.strings("sha256"))
        self._known = np.zeros(len(manifest), bool)

    def read(self, row: int) -> bytes:
        """Bytes of the source file; UserError when they differ from those that the set was built from."""
        name = self.names[row]
        try:
            data = self.files.read(name, 0, int(self.sizes[row]))
        except OSError as error:
            raise UserError(
                f"cannot read {self.files.show(name)} ({error.strerror or error}): restore it, {REMEDY}"
            ) from error
        if not self._known[row]:
            if hashlib.sha256(data).digest() != self._digests[DIGEST * row : DIGEST * (row + 1)]:
                raise UserError(f"{self.files.show(name)} has changed since the set was built: restore it, {REMEDY}")
            self._known[row] = True
        return data

    def locate(self, row: int) -> str:
        return self.files.show(self.names[row])


def _refuse_changed(manifest: Manifest) -> None:
    """UserError when the build changed some images, which it counted in its report."""
    report = manifest.info.report
    kinds = report["normalised"] | ({"suspect": len(report["suspect"])} if report["suspect"] else {})
    if kinds:
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        raise UserError(
            f"{_holds(manifest)}, and the source cannot be read instead: the build changed some images ({counts}); "
            f"choose a loader for a format that is there, {REMEDY}"
        )


def _folder(manifest: Manifest, source: str, name: str) -> Local:
    """The folder that the images' paths start from: the split's folder in the source, or the source itself."""
    if not source:
        raise UserError(
            f"{_holds(manifest)}, but its samples are the source files unchanged: name their folder with --source, "
            f"{REMEDY}"
        )
    root, split = Local(Path(source).expanduser()), manifest.info.subset["split"]
    for folder in (*NAMES[split], ""):
        if (files := root.inside(folder)).exists(name):
            return files
    raise UserError(f"{source} has no {split}/{name}, which the set was built from: name another --source, {REMEDY}")


def _refuse_sizes(manifest: Manifest, files: Local, names: list[str]) -> None:
    """UserError when files are missing or have other sizes than the samples of the set."""
    sizes = np.fromiter(threaded(Files(files).size, names), np.int64, len(names))
    other = np.flatnonzero(sizes != manifest.bytes)
    if len(other):
        raise UserError(
            f"{len(other):,} of the {len(names):,} files under {files.show()} are missing or have another size than "
            f"when the set was built, the first {names[other[0]]}: name another --source, {REMEDY}"
        )


def _holds(manifest: Manifest) -> str:
    return f"{manifest.root} holds {', '.join(manifest.info.formats)}, not folder"
