"""What the images of existing files tell about themselves, and whether loaders can read them."""

import hashlib
from functools import partial
from typing import NamedTuple

import numpy as np
import simplejpeg

from ..encoding.headers import fault_of, may_turn, too_large
from ..engine import cores, in_order
from ..progress import Bar
from ..sources.source import Reader

BLOCK = 256  # images per call of a worker
COLORS = ("YCbCr", "Gray", "RGB")


class Header(NamedTuple):
    """What an image's own bytes tell."""

    height: int  # px; 0 when the header cannot be read, and for pixels
    width: int
    sha256: bytes
    turned: bool  # by EXIF, which readers ignore
    cause: str  # why loaders could not read it, or ""


def read_headers(reader: Reader, places: np.ndarray, raw: np.ndarray, workers: int, max_pixels: int) -> list[Header]:
    """The header of each image at `places` [N, 3] (Ranges' places); `raw` [N] bool: it is pixels, not a JPEG."""
    blocks = [(places[at : at + BLOCK], raw[at : at + BLOCK]) for at in range(0, len(places), BLOCK)]
    found: list[Header] = []
    with Bar(len(places), "img", "headers") as bar:
        work, workers = partial(_block, reader, max_pixels), max(1, min(workers or cores(), len(blocks)))
        for headers in in_order(work, blocks, workers):
            found += headers
            bar.update(len(headers))
    return found


def _block(reader: Reader, max_pixels: int, block: tuple[np.ndarray, np.ndarray]) -> list[Header]:
    return [_header(reader, place, bool(raw), max_pixels) for place, raw in zip(*block, strict=True)]


def _header(reader: Reader, place: np.ndarray, raw: bool, max_pixels: int) -> Header:
    height = width = 0
    data, cause = b"", ""
    try:
        data = reader.read(place)
        if not raw:
            height, width, color, _ = simplejpeg.decode_jpeg_header(data)
            cause = too_large(int(height), int(width), max_pixels)
            cause = cause or (fault_of(data) if color in COLORS else f"its colors are {color}")
    except (OSError, ValueError) as error:
        cause = str(error)
    return Header(int(height), int(width), hashlib.sha256(data).digest(), not raw and may_turn(data), cause)
