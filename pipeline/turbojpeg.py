"""libturbojpeg: many JPEGs decoded in one call of machine code, to RGB or to the planes that they store.

A thread that lets go of the interpreter for each image waits for it again after each (reading.py). simplejpeg decodes
one image per call; its pixels are those of libturbojpeg (2.1.5 of Debian and 2.1.92 of the wheel `turbojpeg` equal it
in all values of 500 photographs), so it serves where there is no libturbojpeg, and decodes what this refuses.

Planes, of `--decode planes`, are brightness and halved colors: interpolating and converting these takes a fifth of a
decode, and the crop does both on fewer values (cut/planes.py).
"""

import ctypes
import functools
from contextlib import suppress
from ctypes.util import find_library
from importlib import metadata
from typing import Any

import llvmlite.binding
import numpy as np
import simplejpeg
from numba import types

from ..shards.errors import UserError
from ..shards.kernels import njit

REFUSED, RGB, PLANES = range(3)  # what became of a JPEG
FULL, HALF_WIDE, HALVED, GRAY = range(4)  # TJSAMP: colors of full size, of half the width, of half both sides, or none
YCBCR, GRAYS = 1, 2  # TJCS
NARROW = 4  # px: up to here libjpeg repeats colors, beyond it interpolates them
_PLACE, _INT, _LONG = types.int64, types.int32, types.int64
_JPEG = (_PLACE, _PLACE, _LONG)  # the decoder, the first byte, and how many
_TYPES = {  # of the library's functions: the result, and the arguments
    "tjInitDecompress": (_PLACE, ()),
    "tjDestroy": (_INT, (_PLACE,)),
    "tjDecompressHeader3": (_INT, (*_JPEG, *[_PLACE] * 4)),
    "tjDecompress2": (_INT, (*_JPEG, _PLACE, *[_INT] * 5)),
    "tjDecompressToYUVPlanes": (_INT, (*_JPEG, _PLACE, _INT, _PLACE, _INT, _INT)),
}


def _function(name: str) -> Any:
    result, arguments = _TYPES[name]
    return types.ExternalFunction(f"viewstream_{name}", result(*arguments))


_init, _destroy, _header = map(_function, ("tjInitDecompress", "tjDestroy", "tjDecompressHeader3"))
_to_rgb, _to_planes = map(_function, ("tjDecompress2", "tjDecompressToYUVPlanes"))


def room(height: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Bytes that an image may need, as RGB or as planes: of images [N]."""
    return np.maximum(3 * height * width, (height + 1) * (width + 1) * 3 // 2)


@functools.cache
def has_turbojpeg() -> bool:
    """Whether there is a libturbojpeg that makes the pixels of simplejpeg, of the system or else of the wheel
    `turbojpeg`. The machine code below is bound to it."""
    for name in filter(None, (find_library("turbojpeg"), _in_wheel())):
        with suppress(OSError, AttributeError):  # not for this machine, or older
            library = ctypes.CDLL(name)
            places = {name: ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in _TYPES}
            if not _agrees(library):
                continue
            for function, place in places.items():
                llvmlite.binding.add_symbol(f"viewstream_{function}", place)
            return True
    return False


def _agrees(library: ctypes.CDLL) -> bool:
    """Whether a library decodes as simplejpeg does: a system can have any version, and pixels may not depend on it."""
    place, whole = ctypes.c_void_p, ctypes.c_int
    library.tjInitDecompress.restype, library.tjDestroy.argtypes = place, [place]
    library.tjDecompress2.argtypes = [place, ctypes.c_char_p, ctypes.c_ulong, place, *[whole] * 5]
    pixels = np.random.default_rng(0).integers(0, 256, (37, 51, 3), np.uint8)
    for sampling in ("444", "422", "420"):
        jpeg = simplejpeg.encode_jpeg(pixels, 90, "RGB", sampling)
        made, handle = np.empty_like(pixels), library.tjInitDecompress()
        library.tjDecompress2(handle, jpeg, len(jpeg), made.ctypes.data, 51, 0, 37, 0, 0)
        library.tjDestroy(handle)
        if not np.array_equal(made, simplejpeg.decode_jpeg(jpeg)):
            return False
    return True


def needs_turbojpeg() -> None:
    """UserError if there is no libturbojpeg."""
    if not has_turbojpeg():
        raise UserError(
            "--decode planes finds no libturbojpeg: apt-get install libturbojpeg0 or pip install 'viewstream[planes]' "
            "brings one with the pixels of simplejpeg, or choose --decode cpu"
        )


def _in_wheel() -> str:
    try:
        files = metadata.files("turbojpeg") or []
    except metadata.PackageNotFoundError:
        return ""
    return next((str(file.locate()) for file in files if file.name.startswith("libturbojpeg")), "")


@njit(nogil=True, cache=True)
def decode(address, size, height, width, planar, first, out, kinds) -> None:
    """Decode JPEGs of `size` [N] bytes at `address` [N], images of height [N] and width [N] px, into the flat uint8
    `out` from the bytes first [N] on, `room` for each; those that are `planar` [N] to planes, if their colors are
    halved.

    `kinds` [N] becomes what each is: RGB [height, width, 3]; PLANES: Y, Cb and Cr one after the other, the sides of Y
    those of the image rounded up to even numbers, those of Cb and Cr half of that; or REFUSED: no JPEG (0 bytes),
    other colors or another size, or damage, a warning of the library included, as with simplejpeg.
    """
    found, planes = np.zeros(4, np.int32), np.zeros(3, np.int64)  # width, height, subsampling, color space
    fields, places, none = found.ctypes.data, planes.ctypes.data, np.int32(0)
    for i in range(len(address)):
        kinds[i] = REFUSED
        if size[i] <= 0:
            continue
        handle = _init()  # half a microsecond, and it would keep the tables of other images
        failed = _header(handle, address[i], size[i], fields, fields + 4, fields + 8, fields + 12)
        halved = found[2] == HALVED and found[3] == YCBCR
        known = (found[3] == YCBCR and found[2] <= HALVED) or (found[3] == GRAYS and found[2] == GRAY)
        if not failed and known and found[0] == width[i] and found[1] == height[i]:
            at = out.ctypes.data + first[i]
            if planar[i] and halved and width[i] > NARROW:
                area = (height[i] + height[i] % 2) * (width[i] + width[i] % 2)
                planes[0], planes[1], planes[2] = at, at + area, at + area * 5 // 4
                if not _to_planes(handle, address[i], size[i], places, none, 0, none, none):
                    kinds[i] = PLANES
            elif not _to_rgb(handle, address[i], size[i], at, found[0], none, found[1], none, none):
                kinds[i] = RGB
        _destroy(handle)


def warm_up() -> None:
    """Call what Python calls, with arrays of the types that it passes."""
    if has_turbojpeg():
        none, side = np.zeros(1, np.int64), np.ones(1, np.int32)
        decode(none, none, side, side, np.zeros(1, bool), none, np.empty(3, np.uint8), np.empty(1, np.uint8))
