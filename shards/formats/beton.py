"""ffcv's `.beton`, version 2: reads its tables, and writes it deterministically; row i of the manifest is sample i.

    0        header        24 bytes    version 2, fields 2, page size, samples, start of the allocations
    24       fields        2 x 1041    type, name, arguments: an RGB image (2) `image`, an integer (1) `label`
    2106     samples       N x 24      mode 0 = JPEG or 1 = pixels, width, height, start of its bytes; label
    ...      images                    one after the other; none crosses a multiple of the page size
    ...      allocations   N x 24      sample, start, number of bytes; to the end of the file

ffcv's process cache reads one page at a time. Pages are counted from the start of the file and need no padding at
either end, so a small set stays small. When a sample is larger than the page, the page size doubles: samples inside one
page are inside one page of twice the size too. ffcv is not needed to write; tests compare with its reader.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from ..errors import UserError
from ..names import open_file

PAGE = 1 << 23  # bytes; the default of ffcv, which asks for a power of two of at least 2 MiB
HEADER = np.dtype(
    [("version", "<u2"), ("fields", "<u2"), ("page", "<u4"), ("samples", "<u8"), ("allocations", "<u8")], align=True
)
FIELD = np.dtype([("type", "u1"), ("name", "S16"), ("arguments", "V1024")])
SAMPLE = np.dtype(  # the image's 13 bytes, 3 of padding, the label
    {
        "names": ["mode", "width", "height", "where", "label"],
        "formats": ["u1", "<u2", "<u2", "<u8", "<i8"],
        "offsets": [0, 1, 3, 5, 16],
        "itemsize": 24,
    }
)
ALLOCATION = np.dtype([("sample", "<u8"), ("where", "<u8"), ("bytes", "<u8")])
IMAGE, INTEGER, FLOAT = 2, 1, 0  # field types
JPEG, RAW = 0, 1  # modes of a sample
IMAGE_VALUE = np.dtype([("mode", "u1"), ("width", "<u2"), ("height", "<u2"), ("where", "<u8")])
VALUES = {FLOAT: "<f8", INTEGER: "<i8", IMAGE: IMAGE_VALUE, 4: "<u8", 6: "<u8"}  # field type -> its part of a sample


class NoBeton(UserError):
    """A file is no .beton, or not a whole one."""


@dataclass(frozen=True)
class Layout:
    """The tables of a finished `.beton`, ours or one that ffcv wrote, or of several, one after the other."""

    file: np.ndarray  # [N] number of the .beton
    mode: np.ndarray  # [N] JPEG or RAW
    height: np.ndarray  # [N] px
    width: np.ndarray  # [N] px
    where: np.ndarray  # [N] first byte
    size: np.ndarray  # [N] bytes
    numbers: dict[str, np.ndarray]  # [N] values of each field of integers or floats, by its name
    others: tuple[str, ...]  # names of fields that are neither numbers nor the image

    @classmethod
    def of(cls, *paths: Path) -> "Layout":
        """Read the tables of files, as `read` reads each."""
        parts = []
        for number, path in enumerate(paths):
            try:
                with open_file(path) as file:
                    parts.append(cls.read(file, os.fstat(file.fileno()).st_size, number, path))
            except OSError as error:
                raise UserError(f"{path} cannot be read ({error.strerror}): repair or rebuild the set") from error
        return cls.joined(parts)

    @classmethod
    def joined(cls, parts: Sequence["Layout"]) -> "Layout":
        """Several as one; a field of numbers is one that all of them have."""
        if len(parts) == 1:
            return parts[0]
        arrays = ("file", "mode", "height", "width", "where", "size")
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
        names = list(dict.fromkeys(name for part in parts for name in (*part.numbers, *part.others)))
        numbers = {
            n: np.concatenate([p.numbers[n] for p in parts]) for n in names if all(n in p.numbers for p in parts)
        }
        return cls(**joined, numbers=numbers, others=tuple(name for name in names if name not in numbers))

    @classmethod
    def read(cls, file: BinaryIO, end: int, number: int, name: object) -> "Layout":
        """Read the tables at both ends of an opened file of `end` bytes, `name` in messages: what is before the first
        image in order, then from the last table on. NoBeton when it is none, truncated, or has no image field.
        """
        try:
            head = np.frombuffer(file.read(HEADER.itemsize), HEADER)[0]
            if head["version"] != 2:
                raise ValueError(f"version {head['version']}, not 2")
            described = np.frombuffer(file.read(FIELD.itemsize * int(head["fields"])), FIELD)
            types, names = described["type"].tolist(), [name.decode() for name in described["name"].tolist()]
            sample = np.dtype([(f"f{n}", VALUES.get(t, "<u8,<u8")) for n, t in enumerate(types)], align=True)
            samples, tables = int(head["samples"]), int(head["allocations"])
            if file.tell() + sample.itemsize * samples > end or tables > end:
                raise ValueError(f"its {end} bytes do not hold the {samples} samples that it claims")
            if end - tables > ALLOCATION.itemsize * samples * len(types):
                raise ValueError("its last table begins too early")
            rows = np.frombuffer(file.read(sample.itemsize * samples), sample)
            file.seek(tables)
            table = np.frombuffer(file.read(), ALLOCATION)
            images = [n for n, kind in enumerate(types) if kind == IMAGE]
            image_field = next((n for n in images if names[n] == "image"), images[0])
            image = rows[f"f{image_field}"]
            numbers = {names[n]: rows[f"f{n}"] for n, kind in enumerate(types) if kind in (INTEGER, FLOAT)}
            others = tuple(names[n] for n in range(len(names)) if n != image_field and names[n] not in numbers)
            at = slice(None)
            if not np.array_equal(table["where"], image["where"]):  # ffcv's workers write in any order
                table = table[np.argsort(table["where"])]
                at = np.searchsorted(table["where"], image["where"])
            if len(rows) != head["samples"] or (table["where"][at] != image["where"]).any():
                raise ValueError("its tables do not fit each other")
            size = table["bytes"][at].copy()
            if (size > end).any() or (image["where"] > end - size).any():
                raise ValueError("a sample lies outside of it")
            pixels = 3 * image["height"].astype(np.int64) * image["width"]
            if (pixels != size)[image["mode"] == RAW].any():
                raise ValueError("pixels of a sample are not as many as its sides say")
        except (ValueError, IndexError, OSError) as error:
            if isinstance(error, UserError):  # of the storage, which names it
                raise
            raise NoBeton(f"{name} is truncated or no .beton ({error}): repair or rebuild the set") from error
        part = np.broadcast_to(number, len(rows))
        return cls(part, image["mode"], image["height"], image["width"], image["where"], size, numbers, others)


class BetonWriter:
    """Writes a `.beton` of at most `capacity` samples to an open file."""

    def __init__(self, file: IO[bytes], capacity: int) -> None:
        self.file, self.page, self.samples = file, PAGE, 0
        self.rows = np.zeros(capacity, SAMPLE)
        self.sizes = np.zeros(capacity, np.uint64)
        self.digests = np.zeros((capacity, 32), np.uint8)
        self.position = HEADER.itemsize + 2 * FIELD.itemsize + self.rows.nbytes

    def add(
        self, data: bytes | memoryview, sha256: bytes, height: int, width: int, label: int, mode: int = JPEG
    ) -> int:
        """Append a sample, the bytes of a JPEG or of RAW pixels, and return its number; `sha256` is that of `data`."""
        size, number = len(data), self.samples
        while size > self.page:
            self.page *= 2
        if self.position % self.page + size > self.page:
            self.position += -self.position % self.page
        self.file.seek(self.position)
        self.file.write(data)
        self.rows[number] = (mode, width, height, self.position, label)
        self.sizes[number] = size
        self.digests[number] = np.frombuffer(sha256, np.uint8)
        self.position += size
        self.samples += 1
        return number

    def restore(self, rows: np.ndarray, sizes: np.ndarray, digests: np.ndarray, page: int, position: int) -> None:
        """Count samples that are in the file already as the next ones; the next one after them is at `position`."""
        own = slice(self.samples, self.samples + len(rows))
        self.rows[own], self.sizes[own], self.digests[own] = rows, sizes, digests
        self.samples, self.page, self.position = own.stop, page, position

    def sync(self) -> None:
        """Flush what was added to the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def end(self) -> str:
        """Write the tables; the digest of the file (digest.py)."""
        rows, sizes = self.rows[: self.samples], self.sizes[: self.samples]
        allocations = np.zeros(self.samples, ALLOCATION)
        allocations["sample"], allocations["where"], allocations["bytes"] = np.arange(len(rows)), rows["where"], sizes
        head = np.array((2, 2, self.page, self.samples, self.position), HEADER).tobytes()
        head += np.array([(IMAGE, b"image", b""), (INTEGER, b"label", b"")], FIELD).tobytes() + rows.tobytes()
        self.file.seek(self.position)
        self.file.write(allocations.tobytes())
        self.file.seek(0)
        self.file.write(head)
        digest, at = hashlib.sha256(head), len(head)
        for where, size, sha256 in zip(rows["where"].tolist(), sizes.tolist(), self.digests, strict=False):
            digest.update(bytes(where - at))
            digest.update(sha256.tobytes())
            at = where + size
        digest.update(bytes(self.position - at) + allocations.tobytes())
        return digest.hexdigest()
