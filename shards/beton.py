"""ffcv's `.beton`, version 2, written by one deterministic writer; row i of the manifest is sample i of the file.

    0        header        24 bytes    version 2, fields 2, page size, samples, where the allocations are
    24       fields        2 x 1041    type, name, arguments: an RGB image (2) `image`, an integer (1) `label`
    2106     samples       N x 24      mode 0 = JPEG, width, height, where its bytes are; label
    ...      JPEG bytes                one behind the other; none crosses a multiple of the page size
    ...      allocations   N x 24      sample, where, how many bytes; to the end of the file

A page is what ffcv's process cache reads at once. Pages are counted from the start of the file and need no padding at
either end, so a small set stays small. When a sample outgrows the page, the page size doubles: what lies inside a page
lies inside the page twice as large. ffcv is the reader and the oracle; nothing of it is needed to write.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from .files import atomic

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


class Beton:
    """An open `.beton` for at most `most` samples; `add` returns the sample's number."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self.file, self.page, self.samples = file, PAGE, 0
        self.rows = np.zeros(most, SAMPLE)
        self.sizes = np.zeros(most, np.uint64)
        self.position = HEADER.itemsize + 2 * FIELD.itemsize + self.rows.nbytes

    def add(self, jpeg: bytes, height: int, width: int, label: int) -> int:
        size, number = len(jpeg), self.samples
        while size > self.page:
            self.page *= 2
        if self.position % self.page + size > self.page:
            self.position += -self.position % self.page
        self.file.seek(self.position)
        self.file.write(jpeg)
        self.rows[number] = (0, width, height, self.position, label)
        self.sizes[number] = size
        self.position += size
        self.samples += 1
        return number

    def end(self) -> None:
        rows, sizes = self.rows[: self.samples], self.sizes[: self.samples]
        allocations = np.zeros(self.samples, ALLOCATION)
        allocations["sample"], allocations["where"], allocations["bytes"] = np.arange(len(rows)), rows["where"], sizes
        self.file.seek(self.position)
        self.file.write(allocations.tobytes())
        self.file.seek(0)
        self.file.write(np.array((2, 2, self.page, self.samples, self.position), HEADER).tobytes())
        self.file.write(np.array([(IMAGE, b"image", b""), (INTEGER, b"label", b"")], FIELD).tobytes())
        self.file.write(rows.tobytes())


@contextmanager
def create(path: Path, most: int) -> Iterator[Beton]:
    """A `.beton` that appears under its name when the block ends well."""
    with atomic(path) as file:
        beton = Beton(file, most)
        yield beton
        beton.end()
