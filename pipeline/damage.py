"""Damaged samples: how one is found, the error that names it, and the samples that take their places."""

import hashlib
import logging

import numpy as np
import simplejpeg

from ..shards.encoding.headers import fault_of
from ..shards.errors import UserError
from ..shards.manifest import Manifest
from .batch import SampleReader
from .plan.order import Plan
from .plan.params import replacements
from .reading import Data

LOG = logging.getLogger(__name__)

OTHER = "its bytes do not match the digest of the manifest"
TRIES = 10  # replacements in turn for one position of a batch; then its error ends the epoch


def damaged(manifest: Manifest, reader: SampleReader, row: int, reason: str, data: Data | None = None) -> UserError:
    """The error of a sample that does not decode: its name, its place and a remedy. `data` is what was read."""
    place = reader.locate(row)
    return UserError(
        f"sample {row} ({manifest.key(row)}) is damaged ({reason}), stored in {place}: "
        f"{_remedy(manifest, row, place, data)}"
    )


def _remedy(manifest: Manifest, row: int, place: str, data: Data | None) -> str:
    """What helps against a damaged sample: that depends on whether its bytes are still those of the manifest."""
    if manifest.info.kind == "plain":
        return "mend or remove it"
    if str(manifest.root) not in place:  # bytes that are not the set's own files
        return "mend it there, or remove it if it is a copy in a stage"
    if isinstance(data, bytes | memoryview) and hashlib.sha256(data).digest() == manifest.sha256[row].tobytes():
        made = "indexed" if manifest.info.kind == "indexed" else "built"
        return f"it was so when the set was {made}, build a set without it (`build_shards.py --on-error skip`)"
    return manifest.repair()


def check_size(
    manifest: Manifest,
    reader: SampleReader,
    row: int,
    height: int,
    width: int,
    data: Data,
) -> None:
    """Raise the error of a sample whose size differs from the manifest, since boxes are drawn for that size."""
    if [height, width] != (size := manifest.hw[row].tolist()):
        raise damaged(manifest, reader, row, f"it is {height} x {width} px, the manifest says {size}", data)


class DigestCheck:
    """Compares a JPEG with the digest of the manifest when this process reads it for the first time: `--check digest`,
    a `Check` of `Reading`. UserError for a set without digests."""

    def __init__(self, manifest: Manifest, reader: SampleReader):
        self.manifest, self.reader = manifest, reader
        try:
            self._digests = manifest.sha256
        except UserError as error:
            raise UserError(f"--check digest compares with the digests of a build: {error}, or leave it out") from error
        self._known = np.zeros(len(manifest), bool)

    def __call__(self, rows: np.ndarray, samples: list[Data | UserError]) -> list[Data | UserError]:
        """The `samples` of `rows` [N], the error of each that differs in its place. UserError for raw pixels, which
        have no digest; it ends the epoch, since all samples of a set may be stored so."""
        for i in np.flatnonzero(~self._known[rows]).tolist():
            row, data = int(rows[i]), samples[i]
            if isinstance(data, UserError):
                continue
            if isinstance(data, np.ndarray):
                raise UserError(
                    f"sample {row} ({self.manifest.key(row)}) is stored as raw pixels, which have no digest: leave out "
                    "--check digest, or read another format of the set"
                )
            if hashlib.sha256(data).digest() == self._digests[row].tobytes():
                self._known[row] = True
            else:
                samples[i] = damaged(self.manifest, self.reader, row, OTHER, data)
        return samples


class JpegCheck:
    """Checks a JPEG for a decoder that would show damage as gray, not as an error: by its digest (33 us for 37 kB), its
    size by its header, and its end by its last marker. UserError for a set without digests."""

    def __init__(self, manifest: Manifest, reader: SampleReader):
        self.manifest, self.reader = manifest, reader
        self._digests = manifest.sha256

    def __call__(self, row: int, data: bytes) -> str:
        """The color space of sample `row` (YCbCr, Gray, CMYK, ...); UserError names one that is not as the manifest
        says."""
        if hashlib.sha256(data).digest() != self._digests[row].tobytes():
            raise damaged(self.manifest, self.reader, row, OTHER, data)
        try:
            height, width, color, _ = simplejpeg.decode_jpeg_header(data)
        except (ValueError, RuntimeError) as error:
            raise damaged(self.manifest, self.reader, row, str(error), data) from error
        check_size(self.manifest, self.reader, row, int(height), int(width), data)
        if fault := fault_of(data):  # it was stored so: a GPU's decoders fill the rest with gray
            raise damaged(self.manifest, self.reader, row, fault, data)
        return color


class Replacer:
    """Replaces damaged samples, the same way for every reader and loader, if `allowed`; `skipped` has the reasons.

    UserError for `skip` without `random_access` (that of the reader)."""

    def __init__(self, manifest: Manifest, plan: Plan, skip: bool, random_access: bool = True):
        if skip and not random_access:
            raise UserError(
                "this loader reads only the samples of its order, so no other image can replace a damaged one: choose "
                "--loader webdataset with --on-error skip"
            )
        self.manifest, self.seed, self.exact = manifest, plan.seed, plan.tail == "exact"
        self.random_access = random_access
        self.allowed = skip and not self.exact
        self.skipped: dict[int, str] = {}  # row -> reason

    def replace(
        self,
        rows: np.ndarray,
        failed: dict[int, UserError],
        epoch: int,
        tries: int,
        occurrence: int | np.ndarray = 0,
    ) -> np.ndarray:
        """`rows` [N] with another sample at each failed position; raises the first error if none may take its place.

        `failed`: errors by position in `rows`. `tries`: earlier replacements in this batch, TRIES at most. `occurrence`
        is that of `replacements`.
        """
        if not self.allowed or tries == TRIES:
            raise self.final(next(iter(failed.values())))
        for position, error in failed.items():
            row = int(rows[position])
            if row not in self.skipped:
                LOG.warning(f"skipped: {error}")
            self.skipped[row] = str(error)
        return replacements(self.manifest, rows, [*failed], self.seed, epoch, tries, occurrence)

    def final(self, error: UserError) -> UserError:
        """The error that ends the epoch: with the option that would go on, where it is not in use and would help."""
        if self.exact:
            return error
        if self.allowed:
            return UserError(f"{error}; {TRIES} samples in turn that were to replace it are damaged too")
        other = "" if self.random_access else "--loader webdataset "
        return UserError(f"{error}; `train.py {other}--on-error skip` (`skip=True` of `open_loader`) trains without it")
