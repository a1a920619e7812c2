"""Turns the bytes of one image file into the JPEG that every format stores.

Loaders see only this JPEG: upright, 8 bits, three components, YCbCr. Everything else (EXIF rotation, CMYK, grayscale,
palettes, alpha, PNG or WebP inside `.JPEG`) is converted to that here, once.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import simplejpeg
from PIL import Image

from ..unpack import MAX_PIXELS
from .headers import (
    END,
    JPEGS,
    ODD_SAMPLING,
    TURNS,
    Damaged,
    cause_of,
    fault_of,
    opened,
    orientation,
    plain_size,
)
from .shrink import shrink


@dataclass(frozen=True)
class Encoding:
    """How images are stored.

    `keep`: plain JPEGs stay as they are; only other images are transcoded, at their size. Otherwise every image is
    shrunk (never grown) until its longer side is at most `max_side` px, or its shorter side `short_side`, and encoded.
    `check`: whether kept images are decoded, or only their headers and end marker are examined.
    """

    keep: bool
    max_side: int  # px; 0 = by the short side
    short_side: int  # px; 0 = by the long side
    quality: int  # 1-100
    check: Literal["headers", "decode"]
    subsampling: Literal["420", "444"] = "420"  # colors at half the resolution, or at the full one
    max_pixels: int = MAX_PIXELS  # px, of an image that is read

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


def encode(data: bytes, encoding: Encoding) -> Encoded:
    """The JPEG to store for an image file's bytes; Damaged tells what is wrong with them.

    Garbled pixels between sound headers are found by decoding only: always when images are encoded, with `keep` when
    `check` asks for it. Shrinking is PIL's antialiased bicubic.
    """
    if not encoding.thorough() and (size := plain_size(data, encoding.max_pixels)):
        return _stored(data, *size)
    image, kinds = opened(data, encoding.max_pixels)
    if not encoding.thorough() and not kinds and data.endswith(END) and not fault_of(data):
        return _stored(data, image.height, image.width)
    pixels, suspect = _decode(data, image, kinds)
    if encoding.keep and not kinds and not suspect:
        return _stored(data, *pixels.shape[:2])
    pixels = np.ascontiguousarray(pixels) if encoding.keep else _shrink(pixels, encoding)
    jpeg = simplejpeg.encode_jpeg(pixels, encoding.quality, colorspace="RGB", colorsubsampling=encoding.subsampling)
    return _stored(jpeg, *pixels.shape[:2], kinds=kinds, suspect=suspect)


def _stored(jpeg: bytes, height: int, width: int, kinds: tuple[str, ...] = (), suspect: str = "") -> Encoded:
    return Encoded(jpeg, hashlib.sha256(jpeg).digest(), height, width, kinds, suspect)


def _decode(data: bytes, image: Image.Image, kinds: tuple[str, ...]) -> tuple[np.ndarray, str]:
    """[H, W, 3] uint8 upright RGB, and the decoder's complaint or ""."""
    suspect = ""
    if image.format in JPEGS and image.mode in ("RGB", "L") and ODD_SAMPLING not in kinds:
        try:
            pixels = simplejpeg.decode_jpeg(data, "RGB")
        except ValueError as error:
            if "extraneous bytes" not in str(error):  # only these leave an image that decodes to its last row
                raise Damaged(cause_of(error)) from error
            suspect, pixels = str(error), simplejpeg.decode_jpeg(data, "RGB", strict=False)
    else:
        try:
            pixels = np.asarray(_rgb(image))
        except Exception as error:
            raise Damaged(cause_of(error)) from error
    if "rotated" in kinds:
        pixels = np.asarray(Image.fromarray(pixels).transpose(TURNS[orientation(image)]))
    return pixels, suspect


def _rgb(image: Image.Image) -> Image.Image:
    """RGB as torchvision's loader gives it, without alpha; 16-bit gray is scaled, where PIL's conversion clips."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def _shrink(pixels: np.ndarray, encoding: Encoding) -> np.ndarray:
    height, width = pixels.shape[:2]
    short, long = sorted((height, width))
    scale = encoding.short_side / short if encoding.short_side else encoding.max_side / long
    if scale >= 1:
        return np.ascontiguousarray(pixels)
    return shrink(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
