"""ffcv's `.beton`, version 2, written by one deterministic writer; row i of the manifest is sample i of the file.

    0        header        24 bytes    version 2, fields 2, page size, samples, where the allocations are
    24       fields        2 x 1041    type, name, arguments: an RGB image (2) `image`, an integer (1) `label`
    2106     samples       N x 24      mode 0 = JPEG or 1 = pixels, width, height, where its bytes are; label
    ...      images                  one behind the other; none crosses a multiple of the page size
    ...      allocations   N x 24      sample, where, how many bytes; to the end of the file

A page is what ffcv's process cache reads at once. Pages are counted from the start of the file and need no padding at
either end, so a small set stays small. When a sample outgrows the page, the page size doubles: what lies inside a page
lies inside the page twice as large. ffcv is the reader and the oracle; nothing of it is needed to write.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import UserError

PAGE = 1 << 23  # bytes; ffcv's own default, at least 2 MiB and a power of two
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
IMAGE, INTEGER = 2, 1


JPEG, RAW = 0, 1  # modes of a sample
PICTURE = np.dtype([("mode", "u1"), ("width", "<u2"), ("height", "<u2"), ("where", "<u8")])
KINDS = {0: "<f8", INTEGER: "<i8", IMAGE: PICTURE, 4: "<u8", 6: "<u8"}  # what ffcv keeps of a sample, by field type


@dataclass(frozen=True)
class Layout:
    """Where each sample of a finished `.beton` lies, ours or one that ffcv wrote."""

    mode: np.ndarray  # [N] JPEG or RAW
    height: np.ndarray  # [N] px
    width: np.ndarray  # [N] px
    where: np.ndarray  # [N] byte
    size: np.ndarray  # [N] bytes
    label: np.ndarray  # [N] of the first integer field; -1 without one

    @classmethod
    def of(cls, path: Path) -> "Layout":
        """Read the tables at both ends; UserError when the file is none, cut short, or has no image field."""
        try:
            with path.open("rb") as file:
                head = np.frombuffer(file.read(HEADER.itemsize), HEADER)[0]
                if head["version"] != 2:
                    raise ValueError(f"version {head['version']}, not 2")
                types = np.frombuffer(file.read(FIELD.itemsize * int(head["fields"])), FIELD)["type"].tolist()
                kinds = np.dtype([(f"f{n}", KINDS.get(t, "<u8,<u8")) for n, t in enumerate(types)], align=True)
                rows = np.frombuffer(file.read(kinds.itemsize * int(head["samples"])), kinds)
                file.seek(int(head["allocations"]))
                table = np.frombuffer(file.read(), ALLOCATION)
            image = rows[f"f{types.index(IMAGE)}"]
            label = rows[f"f{types.index(INTEGER)}"] if INTEGER in types else np.full(len(rows), -1)
            table = table[np.argsort(table["where"])]
            at = np.searchsorted(table["where"], image["where"])
            if len(rows) != head["samples"] or (table["where"][at] != image["where"]).any():
                raise ValueError("its tables do not fit each other")
        except (ValueError, IndexError, OSError) as error:
            raise UserError(f"{path} is truncated or no .beton ({error}): repair or rebuild the set") from error
        return cls(image["mode"], image["height"], image["width"], image["where"], table["bytes"][at], label)


class BetonWriter:
    """A `.beton` in the making for at most `most` samples; `add` returns the sample's number."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self.file, self.page, self.samples = file, PAGE, 0
        self.rows = np.zeros(most, SAMPLE)
        self.sizes = np.zeros(most, np.uint64)
        self.digests = np.zeros((most, 32), np.uint8)
        self.position = HEADER.itemsize + 2 * FIELD.itemsize + self.rows.nbytes

    def add(
        self, data: bytes | memoryview, sha256: bytes, height: int, width: int, label: int, mode: int = JPEG
    ) -> int:
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
        """Go on behind samples that lie in the file already; what lies behind them is dropped."""
        self.samples = len(rows)
        self.rows[: len(rows)], self.sizes[: len(rows)], self.digests[: len(rows)] = rows, sizes, digests
        self.page, self.position = page, position
        self.file.truncate(position)

    def sync(self) -> None:
        """What was added is on the disk when this returns."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def end(self) -> str:
        """Write the tables; the file's digest, as in digest.py."""
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
        for where, size, one in zip(rows["where"].tolist(), sizes.tolist(), self.digests, strict=False):
            digest.update(bytes(where - at))
            digest.update(one.tobytes())
            at = where + size
        digest.update(bytes(self.position - at) + allocations.tobytes())
        return digest.hexdigest()
