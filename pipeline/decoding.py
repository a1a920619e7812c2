"""JPEGs of a task to pixels, in one call of machine code where libturbojpeg is, else one by one."""

import numpy as np
import simplejpeg

from ..shards.errors import UserError
from .reading import Data
from .turbojpeg import RGB, decode, has_turbojpeg


def decode_all(
    samples: list[Data | UserError],
    height: np.ndarray,
    width: np.ndarray,
    planar: np.ndarray,
    first: np.ndarray,
    out: np.ndarray,
) -> np.ndarray:
    """Decode those of N `samples` that are JPEGs of height [N] and width [N] px, with `turbojpeg.decode`; the kinds [N]
    of what `out` has then. simplejpeg makes RGB of all."""
    kinds = np.empty(len(samples), np.uint8)
    if has_turbojpeg():
        jpegs = [np.frombuffer(data if isinstance(data, bytes | memoryview) else b"", np.uint8) for data in samples]
        address = np.array([jpeg.__array_interface__["data"][0] for jpeg in jpegs], np.int64)
        size = np.array([len(jpeg) for jpeg in jpegs], np.int64)
        decode(address, size, height, width, planar, first, out, kinds)
        return kinds
    for i, (data, h, w, at) in enumerate(zip(samples, height.tolist(), width.tolist(), first.tolist(), strict=True)):
        kinds[i] = RGB if isinstance(data, bytes | memoryview) and _fills(out[at : at + 3 * h * w], data, h, w) else 0
    return kinds


def _fills(target: np.ndarray, data: bytes | memoryview, height: int, width: int) -> bool:
    try:
        return simplejpeg.decode_jpeg(data, buffer=target).shape[:2] == (height, width)
    except (ValueError, RuntimeError):
        return False
