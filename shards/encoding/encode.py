"""One image's bytes in, the JPEG that every format stores out.

Loaders see only what this function returns: an upright 8-bit JPEG of three components, YCbCr. Everything
else (EXIF rotation, CMYK, grayscale, palettes, alpha, PNG or WebP inside `.JPEG`) is made such here, once.
"""

import hashlib
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from .shrink import shrink

SUBSAMPLING = "420"
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
MODES = {"L": "grey", "LA": "grey", "P": "palette", "RGBA": "alpha", "1": "bilevel", "I;16": "16-bit grey"}
ODD_SAMPLING = "odd sampling"
MOST_PIXELS = 89_478_485  # PIL looks closer at more, and refuses twice as many: small files can claim any size
JPEGS = ("JPEG", "MPO")  # MPO: a JPEG with more images behind the first
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # PIL would start other programs for some
ORIENTATION = 0x0112  # the EXIF tag
END = b"\xff\xd9"  # a JPEG's last marker
_FILTERS = threading.Lock()
APP1, SCAN = 0xE1, 0xDA  # other markers: what EXIF lies in, and where the image itself begins


class Damaged(Exception):
    """The bytes are not a whole image; the message is the cause."""


@dataclass(frozen=True)
class Encoding:
    """`keep`: plain JPEGs stay as they are, and only the others are transcoded, at their size. Otherwise every image
    is shrunk (never grown) until its longer side is at most `max_side` px, or its shorter one `short_side`, and encoded
    anew. `check`: whether kept images are decoded, or only their headers and end marker looked at."""

    keep: bool
    max_side: int  # px; 0 = by the short side
    short_side: int  # px; 0 = by the long side
    quality: int  # 1-100
    check: Literal["headers", "decode"]

    def thorough(self) -> bool:
        """Whether every image is decoded."""
        return not self.keep or self.check == "decode"


class Encoded(NamedTuple):
    """What is stored, its digest and size in px, and what had to be normalized (kinds for the build report)."""

    jpeg: bytes
    sha256: bytes
    height: int
    width: int
    kinds: tuple[str, ...]
    suspect: str  # a decoder's complaint about an image that it could still decode to the end


def encode(data: bytes, how: Encoding) -> Encoded:
    """The JPEG to store for an image file's bytes; Damaged says what is wrong with them.

    Garbled pixels between sound headers are found by decoding only: always when encoding anew, with `keep` when
    `check` asks for it. Shrinking is PIL's antialiased bicubic.
    """
    if not how.thorough() and (size := _plain(data)):
        return Encoded(data, hashlib.sha256(data).digest(), *size, (), "")
    head, kinds = _look(data)
    if not how.thorough() and not kinds and data.endswith(END):
        return Encoded(data, hashlib.sha256(data).digest(), head.height, head.width, (), "")
    pixels, suspect = _decode(data, head, kinds)
    height, width = pixels.shape[:2]
    if how.keep and not kinds and not suspect:
        return Encoded(data, hashlib.sha256(data).digest(), height, width, kinds, suspect)
    pixels = np.ascontiguousarray(pixels) if how.keep else _shrink(pixels, how)
    jpeg = simplejpeg.encode_jpeg(pixels, how.quality, colorspace="RGB", colorsubsampling=SUBSAMPLING)
    return Encoded(jpeg, hashlib.sha256(jpeg).digest(), pixels.shape[0], pixels.shape[1], kinds, suspect)


def _plain(data: bytes) -> tuple[int, int] | None:
    """Height and width of a whole color JPEG without EXIF, by its headers; None when it needs a closer look."""
    if not data.endswith(END) or may_turn(data):
        return None
    try:
        height, width, colour, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    size = int(height), int(width)
    return size if colour == "YCbCr" and size[0] * size[1] <= MOST_PIXELS else None


def may_turn(data: bytes) -> bool:
    """Whether there is EXIF before the scan, or no telling."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == SCAN:
            return False
        if data[at + 1] == APP1 and data[at + 4 : at + 8] == b"Exif":
            return True
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return True


def _look(data: bytes) -> tuple[Image.Image, tuple[str, ...]]:
    """The lazily opened image, and in which ways it is no plain JPEG."""
    if not data:
        raise Damaged("the file is empty")
    try:
        with _quietly():
            head = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:  # its own message names an object in memory
        raise Damaged("it is no image of a known format") from error
    except Exception as error:  # decoders raise anything on hostile bytes
        raise Damaged(_cause(error)) from error
    kinds = []
    if head.format not in JPEGS:
        kinds.append((head.format or "unknown").lower())
    elif head.mode == "RGB" and (unusual := _unusual(data)):
        kinds.append(unusual)
    if head.mode != "RGB":
        kinds.append(MODES.get(head.mode, head.mode.lower()))
    if _orientation(head) in TURNS:
        kinds.append("rotated")
    return head, tuple(kinds)


def _unusual(data: bytes) -> str:
    """What fast decoders may not expect of a color JPEG, or ""."""
    try:
        return "" if simplejpeg.decode_jpeg_header(data)[2] == "YCbCr" else "stored as rgb"
    except ValueError:  # sampling factors that turbojpeg has no name for; PIL's decoder takes any
        return ODD_SAMPLING


def _orientation(head: Image.Image) -> int:
    if "exif" not in head.info:
        return 1
    try:
        with _quietly():
            return head.getexif().get(ORIENTATION, 1)
    except Exception:  # unreadable EXIF says nothing about the pixels: other readers ignore it too
        return 1


@contextmanager
def _quietly() -> Iterator[None]:
    """Images in the wild carry odd metadata, and only the pixels matter here. One thread at a time: each puts
    the process's filters back as it found them."""
    with _FILTERS, warnings.catch_warnings(action="ignore"):
        yield


def _decode(data: bytes, head: Image.Image, kinds: tuple[str, ...]) -> tuple[np.ndarray, str]:
    """[H, W, 3] uint8 upright RGB, and a complaint or ""."""
    suspect = ""
    if head.format in JPEGS and head.mode in ("RGB", "L") and ODD_SAMPLING not in kinds:
        try:
            pixels = simplejpeg.decode_jpeg(data, "RGB")
        except ValueError as error:
            if "extraneous bytes" not in str(error):  # those alone leave an image that is decoded to its last row
                raise Damaged(_cause(error)) from error
            suspect, pixels = str(error), simplejpeg.decode_jpeg(data, "RGB", strict=False)
    else:
        try:
            pixels = np.asarray(_rgb(head))
        except Exception as error:
            raise Damaged(_cause(error)) from error
    if "rotated" in kinds:
        pixels = np.asarray(Image.fromarray(pixels).transpose(TURNS[_orientation(head)]))
    return pixels, suspect


def _rgb(head: Image.Image) -> Image.Image:
    """As torchvision's loader shows it, alpha dropped; 16-bit gray is scaled, which PIL's own conversion would clip."""
    if head.mode.startswith("I"):
        return Image.fromarray((np.asarray(head) >> 8).astype(np.uint8)).convert("RGB")
    return head.convert("RGB")


def _shrink(pixels: np.ndarray, how: Encoding) -> np.ndarray:
    height, width = pixels.shape[:2]
    scale = how.short_side / min(height, width) if how.short_side else how.max_side / max(height, width)
    if scale >= 1:
        return np.ascontiguousarray(pixels)
    return shrink(pixels, max(1, round(height * scale)), max(1, round(width * scale)))


def _cause(error: Exception) -> str:
    return str(error).replace("\n", " ") or type(error).__name__
