"""What the images of existing files tell about themselves, and whether loaders can read them: a file is read once."""

from collections import deque
from collections.abc import Container
from typing import IO, NamedTuple

import numpy as np
import simplejpeg

from ..encoding.headers import fault_of, may_turn, too_large
from ..formats.digest import Digest
from ..info import JSON
from ..progress import Bar

COLORS = ("YCbCr", "Gray", "RGB")


class Header(NamedTuple):
    """What an image's own bytes tell."""

    height: int  # px; 0 when the header cannot be read, and for pixels
    width: int
    sha256: bytes
    turned: bool  # by EXIF, which readers ignore
    cause: str  # why loaders could not read it, or ""


class Described(NamedTuple):
    """The images of a file, and the line about the file in `dataset.json`."""

    headers: list[Header]  # [n]
    line: JSON


def described(
    file: IO[bytes],
    name: str,
    spans: np.ndarray,
    pixels: np.ndarray,
    max_pixels: int,
    bar: Bar,
    among: Container[bytes] | None = None,
) -> Described:
    """Read an open file to its end. `spans` [n, 2] are the first byte and the length of its images, in order, `pixels`
    [n, 2] the height and width of those that are no JPEGs, else 0. `among`: only images with these sha256 count."""
    headers: list[Header] = []
    sides = iter(pixels.tolist())
    bar.total = (bar.total or 0) + len(spans)

    def look(data: bytes, sha256: bytes) -> bool:
        height, width = next(sides)
        headers.append(_header(data, sha256, height, width, max_pixels))
        bar.update()
        return bool(headers[-1].cause) or (among is not None and sha256 not in among)

    digest = Digest(file, look)
    deque(digest.images(spans.tolist()), maxlen=0)
    found, counted = digest.end(), sum(not h.cause and (among is None or h.sha256 in among) for h in headers)
    return Described(headers, {"file": name, "bytes": file.tell(), "samples": counted, "digest": found})


def _header(data: bytes, sha256: bytes, height: int, width: int, max_pixels: int) -> Header:
    if height:
        return Header(height, width, sha256, False, too_large(height, width, max_pixels))
    try:
        found = simplejpeg.decode_jpeg_header(data)
        height, width, color = int(found[0]), int(found[1]), found[2]
        cause = too_large(height, width, max_pixels)
        cause = cause or (fault_of(data) if color in COLORS else f"its colors are {color}")
    except ValueError as error:
        cause = str(error)
    return Header(height, width, sha256, may_turn(data), cause)
