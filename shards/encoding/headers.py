"""What an image file's headers tell, before anything is decoded."""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import simplejpeg
from PIL import Image, UnidentifiedImageError

from ..unpack import MAX_PIXELS

END = b"\xff\xd9"  # a JPEG's last marker
APP1, SCAN = 0xE1, 0xDA  # markers before EXIF and before the pixels
FRAMES = {  # the marker of a frame -> its process; only of those that the decoders here cannot read
    0xC3: "lossless",
    0xC5: "hierarchical",
    0xC6: "hierarchical",
    0xC7: "hierarchical",
    0xCB: "lossless",
    0xCD: "hierarchical",
    0xCE: "hierarchical",
    0xCF: "hierarchical",
}
READ = {
    0xC0,
    0xC1,
    0xC2,
    0xC9,
    0xCA,
}  # frames that they read: sequential and progressive, by Huffman or arithmetic codes
BITS = 8  # per value
ORIENTATION = 0x0112  # the EXIF tag
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
JPEGS = ("JPEG", "MPO")  # MPO: a JPEG with more images after the first
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # PIL would start other programs for some others
if find_spec("PIL.AvifImagePlugin"):  # from Pillow 11.3 on
    FORMATS += ("AVIF",)
_FILTERS = threading.Lock()


class Damaged(Exception):
    """The bytes are not a whole image; the message is the cause."""


def cause_of(error: Exception) -> str:
    """One line for a decoder's error."""
    return str(error).replace("\n", " ") or type(error).__name__


def plain_size(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[int, int] | None:
    """Height and width, in px, of a whole color JPEG without EXIF, by its headers; None when `opened` has to look."""
    if not data.endswith(END) or may_turn(data) or fault_of(data):
        return None
    try:
        height, width, color, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    size = int(height), int(width)
    return size if color == "YCbCr" and size[0] * size[1] <= max_pixels else None


def may_turn(data: bytes) -> bool:
    """Whether a JPEG has EXIF, or XMP with an orientation, before its pixels, or has headers that do not show it."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == SCAN:
            return False
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if data[at + 1] == APP1 and (data[at + 4 : at + 8] == b"Exif" or data.find(b"Orientation", at, end) > 0):
            return True
        at = end
    return True


def fault_of(data: bytes) -> str:
    """Why decoders here cannot read a JPEG, as its frame's header and its end marker tell, or ""."""
    at = 2
    while data[at : at + 1] == b"\xff" and at + 5 <= len(data):
        marker = data[at + 1]
        if marker == SCAN:
            whole = data.endswith(END) or data.find(END, at) > 0  # mostly at the end, which is found without a search
            return "" if whole else "it is cut off, it has no end marker"
        if marker in FRAMES:
            return f"it is a {FRAMES[marker]} JPEG"
        if marker in READ and data[at + 4] != BITS:
            return f"it has {data[at + 4]} bits per value, not {BITS}"
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4])  # any number of 0xFF may come first
    return "it is cut off, it has no pixels" if data.startswith(b"\xff\xd8") else ""


def too_large(height: int, width: int, max_pixels: int) -> str:
    """Why an image is not read, "" if it is: its decoded pixels would take too much memory."""
    more = f"it has {width:,} x {height:,} px, more than {max_pixels:,} in all (--max-pixels)"
    return more if height * width > max_pixels else ""


def opened(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, tuple[str, ...]]:
    """The image, opened but not decoded, and in which ways it is no plain JPEG; Damaged when it is no image, or a
    larger one."""
    if not data:
        raise Damaged("the file is empty")
    try:
        with _quietly():
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:  # its own message names an object in memory
        raise Damaged(fault_of(data) or "it is no image of a known format") from error
    except Exception as error:  # decoders raise anything on hostile bytes
        raise Damaged(cause_of(error)) from error
    if fault := too_large(image.height, image.width, max_pixels):
        raise Damaged(fault)
    kinds = []
    if image.format not in JPEGS:
        kinds.append((image.format or "unknown").lower())
    elif image.mode == "RGB" and (unusual := _unusual(data)):
        kinds.append(unusual)
    if image.mode != "RGB":
        kinds.append(MODES.get(image.mode, image.mode.lower()))
    if orientation(image) in TURNS:
        kinds.append("rotated")
    return image, tuple(kinds)


def orientation(image: Image.Image) -> int:
    """The orientation in EXIF, else in XMP, 1 to 8 in a valid file; 1 = upright, also without either."""
    if image.format == "TIFF" or image.info.keys().isdisjoint(("exif", "xmp", "XML:com.adobe.xmp")):
        return 1  # Pillow turns a TIFF while it decodes it
    try:
        with _quietly():
            return image.getexif().get(ORIENTATION, 1)
    except Exception:  # unreadable EXIF says nothing about the pixels: other readers ignore it too
        return 1


def _unusual(data: bytes) -> str:
    """What fast decoders may not expect of a color JPEG, or ""."""
    try:
        return "" if simplejpeg.decode_jpeg_header(data)[2] == "YCbCr" else "stored as rgb"
    except ValueError:  # sampling factors that turbojpeg has no name for; PIL's decoder takes any
        return ODD_SAMPLING


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence warnings about odd metadata: only the pixels matter; and Pillow's own limit, which is not the one in use.
    One thread at a time, because each restores what holds for the process."""
    with _FILTERS, warnings.catch_warnings(action="ignore"):
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
