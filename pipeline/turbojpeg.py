"""libturbojpeg, for `--decode planes`: a JPEG decoded to the planes that it stores, brightness and halved colors.

That leaves out interpolating and converting colors, a fifth of a decode; the crop does both on fewer values
(cut/planes.py). simplejpeg gives RGB alone. Any libturbojpeg since 1.4 serves and makes the same bytes: 2.1.5 of
Debian and 2.1.92 of the wheel `turbojpeg` are equal in all values of 500 photographs, and in speed.
"""

import ctypes
from contextlib import suppress
from ctypes.util import find_library
from importlib import metadata
from typing import NamedTuple

import numpy as np

from ..shards.errors import UserError

HALVED, YCBCR = 2, 1  # TJSAMP_420: colors at half the height and width; TJCS_YCbCr
NARROW = 4  # px: up to here libjpeg repeats colors, beyond it interpolates them


class Planes(NamedTuple):
    """The planes of an image with halved colors: Y, Cb and Cr one after the other in the flat uint8 `data`. Sides of Y
    are those of the image rounded up to even numbers, sides of Cb and Cr half of that."""

    data: np.ndarray
    height: int  # px of the image
    width: int


def room(height: int | np.ndarray, width: int | np.ndarray) -> int | np.ndarray:
    """Bytes of a buffer for the planes of an image."""
    return (height + 1) * (width + 1) * 3 // 2


def open_turbojpeg() -> ctypes.CDLL:
    """The library of the system, or else of the wheel `turbojpeg`. UserError if there is none."""
    for name in filter(None, (find_library("turbojpeg"), _in_wheel())):
        with suppress(OSError, AttributeError):  # not for this machine, or older
            return _declared(ctypes.CDLL(name))
    raise UserError(
        "--decode planes finds no libturbojpeg: apt-get install libturbojpeg0 or pip install 'viewstream[planes]' "
        "brings it, or choose --decode cpu"
    )


def _in_wheel() -> str:
    try:
        files = metadata.files("turbojpeg") or []
    except metadata.PackageNotFoundError:
        return ""
    return next((str(file.locate()) for file in files if file.name.startswith("libturbojpeg")), "")


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """The types of the functions that `PlaneDecoder` calls."""
    whole, place, jpeg = ctypes.c_int, ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_ulong]
    library.tjInitDecompress.restype = place
    library.tjDestroy.argtypes = [place]
    library.tjDecompressHeader3.argtypes = [*jpeg, *[place] * 4]
    library.tjDecompressToYUVPlanes.argtypes = [*jpeg, place, whole, place, whole, whole]
    return library


class PlaneDecoder:
    """Decodes to planes, from any thread; its calls release the interpreter. UserError without libturbojpeg."""

    def __init__(self) -> None:
        self._library = open_turbojpeg()

    def __call__(self, data: bytes | np.ndarray, height: int, width: int, buffer: np.ndarray) -> Planes | None:
        """The planes of a JPEG of this size, in `buffer` of at least `room` bytes.

        None for what has no such planes: stored pixels, other colors or subsampling. None for damage too: simplejpeg is
        to find and name it. A warning of the library counts as damage, as it does there."""
        if isinstance(data, np.ndarray) or width <= NARROW:
            return None
        wide, high, at = width + width % 2, height + height % 2, buffer.ctypes.data
        planes = (ctypes.c_void_p * 3)(at, at + wide * high, at + wide * high * 5 // 4)
        found = (ctypes.c_int * 4)()  # width, height, subsampling, color space
        handle = self._library.tjInitDecompress()  # half a microsecond, and it would keep the tables of other images
        try:
            jpeg, each = (handle, data, len(data)), range(ctypes.addressof(found), ctypes.addressof(found) + 16, 4)
            failed = self._library.tjDecompressHeader3(*jpeg, *each) or found[:] != [width, height, HALVED, YCBCR]
            failed = failed or self._library.tjDecompressToYUVPlanes(*jpeg, planes, 0, None, 0, 0)
        finally:
            self._library.tjDestroy(handle)
        return None if failed else Planes(buffer, height, width)
