"""A block of images in, the bytes to store out: what a worker does, a pure function of its input."""

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

from ..encoding.encode import Damaged, Encoding, encode
from ..errors import UserError
from ..formats.tar import BLOCK, around
from ..keyed import keys
from ..manifest import JSON, uid_of
from ..sources.source import Reader, key_of
from .layout import Sample

COLUMNS = ("uid", "key", "label", "source", "height", "width", "bytes", "sha256", "offset")
MOST_PIECES = 1000  # the kernel takes 1024 a call


class EncodedBlock(NamedTuple):
    """A block, encoded. `offset` counts from the block's first byte; formats other than tar store slices of `tar`."""

    tar: bytes | Path  # members of all samples, one behind the other, or the file that holds them
    digested: bytes  # the same with digests in place of JPEGs
    rows: dict[str, list[Any]]  # uid key label source height width bytes sha256 offset, a row a sample
    raw: dict[int, bytes]  # row -> pixels, for those that a .beton holds decoded
    kinds: Counter[str]  # what was normalized
    suspect: list[JSON]  # source and cause
    skipped: list[JSON]

    @contextmanager
    def opened(self) -> Iterator[memoryview]:
        """The members' bytes; a file that holds them is gone afterwards."""
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
    """Reads, encodes and packs blocks; sent to the workers once a block, so it is small."""

    reader: Reader
    encoding: Encoding
    raw_fraction: float  # of samples whose pixels a .beton holds
    seed: int
    spool: Path | None  # where a worker process leaves blocks: pipes would copy each byte four times

    def __call__(self, block: list[Sample]) -> EncodedBlock:
        encoded = EncodedBlock(b"", b"", {name: [] for name in COLUMNS}, {}, Counter(), [], [])
        pieces: list[bytes] = []
        digested: list[bytes] = []
        position = 0
        for path, place, label in block:
            key = key_of(path)
            uid = uid_of(key)
            try:
                one = encode(self.reader.read(place), self.encoding)
                if self.raw_fraction and is_raw(np.array([uid], np.uint64), self.raw_fraction, self.seed)[0]:
                    encoded.raw[len(encoded.rows["uid"])] = simplejpeg.decode_jpeg(one.jpeg).tobytes()
            except UserError:  # of the archive, not of one image in it: others would be lost unnamed
                raise
            except (Damaged, OSError, ValueError, MemoryError) as error:
                encoded.skipped.append({"source": path, "cause": str(error) or type(error).__name__})
                continue
            row = (uid, key, label, path, one.height, one.width, len(one.jpeg), one.sha256, position + BLOCK)
            for name, value in zip(COLUMNS, row, strict=True):
                encoded.rows[name].append(value)
            encoded.kinds.update(one.kinds)
            if one.suspect:
                encoded.suspect.append({"source": path, "cause": one.suspect})
            before, behind = around(key, label, len(one.jpeg), one.height, one.width)
            pieces += before, one.jpeg, behind
            digested += before, one.sha256, behind
            position += len(before) + len(one.jpeg) + len(behind)
        return encoded._replace(tar=self._stored(pieces, block), digested=b"".join(digested))

    def _stored(self, pieces: list[bytes], block: list[Sample]) -> bytes | Path:
        if self.spool is None or not pieces:
            return b"".join(pieces)
        path = self.spool / f"{uid_of(key_of(block[0].path)):016x}.block"
        with path.open("wb", buffering=0) as file:
            for at in range(0, len(pieces), MOST_PIECES):
                _write_all(file.fileno(), pieces[at : at + MOST_PIECES])
        return path


def _write_all(file: int, pieces: list[bytes]) -> None:
    """One call for many pieces; a disk that is nearly full takes a part of them before it says so."""
    total = sum(map(len, pieces))
    if (written := os.writev(file, pieces)) < total:
        rest = memoryview(b"".join(pieces))[written:]
        while rest:
            rest = rest[os.write(file, rest) :]


def is_raw(uid: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """[N] uint64 -> [N] bool: a keyed coin an image."""
    return (keys(uid, seed, "raw") >> np.uint64(11)).astype(np.float64) / 2.0**53 < fraction
