"""From a block of images to the bytes to store: the work of one worker, a pure function of its input."""

import mmap
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import simplejpeg

from ..encoding.encode import Encoding, encode
from ..encoding.headers import Damaged
from ..errors import UserError
from ..formats.tar import BLOCK, around
from ..info import JSON
from ..keyed import keys
from ..manifest import uid_of
from ..sources.readers import fields_at
from ..sources.source import Reader, key_of
from ..table import FIELDS
from .layout import Sample

COLUMNS = ("uid", "key", "label", "source", "height", "width", "bytes", "sha256", "offset", *FIELDS.names)
MAX_PIECES = 1000  # per write; the kernel takes at most 1024


class EncodedBlock(NamedTuple):
    """A block, encoded. `offset` counts from the block's first byte; formats other than tar store slices of `tar`."""

    tar: bytes | Path  # members of all samples, one after the other, or the file that holds them
    digested: bytes  # the same with digests in place of JPEGs
    rows: dict[str, list[Any]]  # COLUMNS, one value per sample
    raw: dict[int, bytes]  # row -> pixels, for samples that a .beton holds decoded
    kinds: Counter[str]  # what was normalized
    suspect: list[JSON]  # source and cause
    skipped: list[JSON]  # source and cause

    @contextmanager
    def opened(self) -> Iterator[memoryview]:
        """The members' bytes; a file that holds them is deleted afterwards."""
        if isinstance(self.tar, bytes):
            yield memoryview(self.tar)
            return
        with (
            self.tar.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
            memoryview(data) as view,
        ):
            yield view
        self.tar.unlink()


@dataclass(frozen=True)
class BlockEncoder:
    """Reads, encodes and packs blocks; it is sent to the workers with every block, so it is small."""

    reader: Reader
    encoding: Encoding
    raw_fraction: float  # share of samples whose pixels a .beton holds
    seed: int
    fields: tuple[str, ...]  # further members that go into the tars
    spool: Path | None  # where a worker process leaves blocks, because pipes copy each byte four times

    def __call__(self, block: list[Sample]) -> EncodedBlock:
        """Encode a block; images that are damaged are listed in `skipped`."""
        rows: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        raw: dict[int, bytes] = {}
        kinds: Counter[str] = Counter()
        suspect: list[JSON] = []
        skipped: list[JSON] = []
        members: list[bytes] = []
        digested: list[bytes] = []
        position = 0
        for path, place, label in block:
            key = key_of(path)
            uid = uid_of(key)
            try:
                stored = encode(self.reader.read(place), self.encoding)
                more = fields_at(self.reader, place) if self.fields else []
                if self.raw_fraction and is_raw(np.array([uid], np.uint64), self.raw_fraction, self.seed)[0]:
                    raw[len(rows["uid"])] = simplejpeg.decode_jpeg(stored.jpeg).tobytes()
            except UserError:  # about the archive, not about one image: skipping would lose others without a name
                raise
            except (Damaged, OSError, ValueError, MemoryError) as error:
                skipped.append({"source": path, "cause": str(error) or type(error).__name__})
                continue
            jpeg, sha256, height, width = stored[:4]
            before, after = around(key, label, len(jpeg), height, width, zip(self.fields, more, strict=True))
            sizes = [-1 if data is None else len(data) for data in more]
            ends = position + len(before) + len(jpeg) + len(after)
            row = (
                uid,
                key,
                label,
                path,
                height,
                width,
                len(jpeg),
                sha256,
                position + BLOCK,
                _offsets(sizes, ends),
                sizes,
            )
            for name, value in zip(COLUMNS, row, strict=True):
                rows[name].append(value)
            kinds.update(stored.kinds)
            if stored.suspect:
                suspect.append({"source": path, "cause": stored.suspect})
            members += before, jpeg, after
            digested += before, sha256, after
            position = ends
        tar = self._stored(members, block)
        return EncodedBlock(tar, b"".join(digested), rows, raw, kinds, suspect, skipped)

    def _stored(self, members: list[bytes], block: list[Sample]) -> bytes | Path:
        """The members as bytes, or as a file of the spool."""
        if self.spool is None or not members:
            return b"".join(members)
        path = self.spool / f"{uid_of(key_of(block[0].path)):016x}.block"
        with path.open("wb", buffering=0) as file:
            for at in range(0, len(members), MAX_PIECES):
                _write_all(file.fileno(), members[at : at + MAX_PIECES])
        return path


def _offsets(sizes: list[int], end: int) -> list[int]:
    """The first bytes of the last members of a sample that ends at byte `end`; -1 for absent ones, of size -1."""
    found = []
    for size in reversed(sizes):
        end -= size + -size % BLOCK if size >= 0 else 0
        found.append(end if size >= 0 else -1)
        end -= BLOCK if size >= 0 else 0
    return found[::-1]


def _write_all(file: int, pieces: list[bytes]) -> None:
    """Write many pieces with one call; when a nearly full disk takes only a part, write the remainder or fail."""
    total = sum(map(len, pieces))
    if (written := os.writev(file, pieces)) < total:
        remainder = memoryview(b"".join(pieces))[written:]
        while remainder:
            remainder = remainder[os.write(file, remainder) :]


def is_raw(uid: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """[N] uint64 -> [N] bool: one keyed coin per image, true for about `fraction` of them."""
    return (keys(uid, seed, "raw") >> np.uint64(11)).astype(np.float64) / 2.0**53 < fraction
