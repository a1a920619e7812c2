"""Samples read by the task: in one call of machine code where they lie in open files.

A thread that lets go of the interpreter for one read has to wait for it again, and so has every other thread. With 16
threads on 16 cores that wait limited a loader to less than half of what its cores decode.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from ..shards.errors import UserError
from ..shards.kernels import njit
from .batch import SampleReader

Data = bytes | memoryview | np.ndarray  # a JPEG, or pixels [H, W, 3]
Check = Callable[[np.ndarray, list["Data | UserError"]], list["Data | UserError"]]  # rows [N], samples -> samples

_pread: Any = types.ExternalFunction("pread", types.int64(types.int32, types.int64, types.int64, types.int64))


def known(sample: Data | UserError) -> Data:
    """The sample; an error is raised."""
    if isinstance(sample, UserError):
        raise sample
    return sample


def as_bytes(sample: Data) -> bytes | np.ndarray:
    """A JPEG as bytes of its own, for what keeps it or searches in it."""
    return bytes(sample) if isinstance(sample, memoryview) else sample


class Reading:
    """The samples `rows` [N] of a batch, through `reader`; `check` looks at those of a task before they are decoded."""

    def __init__(self, reader: SampleReader, rows: np.ndarray, check: Check | None = None):
        self.reader, self.rows, self.check = reader, rows, check
        self._extents = reader.extents(rows) if _gives_what_it_reads(reader) else None

    def __call__(self, part: range) -> list[Data | UserError]:
        """The samples at positions `part`, the error of each that cannot be read, or is not as `check` wants it, in its
        place."""
        samples = self._read(part)
        return self.check(self.rows[part.start : part.stop], samples) if self.check else samples

    def _read(self, part: range) -> list[Data | UserError]:
        if self._extents is None:
            return [self._alone(i) for i in part]
        file, first, size = (column[part.start : part.stop] for column in self._extents)
        ends = np.cumsum(size)
        jpegs, got = np.empty(ends[-1], np.uint8), np.empty(len(part), np.int64)
        read_all(file, first, size, jpegs, got)
        bounds, jpegs = zip((ends - size).tolist(), ends.tolist(), strict=True), jpegs.data
        whole = ((got == size) & (size > 0)).tolist()
        return [jpegs[a:b] if w else self._alone(i) for i, w, (a, b) in zip(part, whole, bounds, strict=True)]

    def _alone(self, i: int) -> Data | UserError:
        try:
            return self.reader.read(int(self.rows[i]))
        except UserError as error:
            return error


def _gives_what_it_reads(reader: SampleReader) -> bool:
    """Whether `extents` is of the class that `read` is of, or of a later one: it would pass over a `read` of a user's
    own in a class that inherits `extents`."""
    found = [name for kind in type(reader).__mro__ for name in ("extents", "read") if name in vars(kind)]
    return found[:1] == ["extents"] and "read" not in getattr(reader, "__dict__", {})


@njit(nogil=True, cache=True)
def read_all(file, first, size, out, got) -> None:
    """Read `size` [N] bytes at `first` [N] of each open `file` [N], one after the other into the flat uint8 `out`;
    `got` [N] are the bytes that there were."""
    begin = out.ctypes.data
    for i in range(len(file)):
        got[i] = 0
        while got[i] < size[i]:
            count = _pread(np.int32(file[i]), begin + got[i], size[i] - got[i], first[i] + got[i])
            if count <= 0:  # the end of the file, or a fault that `SampleReader.read` names
                break
            got[i] += count
        begin += size[i]


def warm_up() -> None:
    """Call what Python calls, with arrays of the types that it passes."""
    none = np.zeros(1, np.int64)
    read_all(none, none, none, np.empty(1, np.uint8), none.copy())
