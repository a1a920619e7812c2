"""Trees with a damaged image: truncated, garbled, with false headers, with odd EXIF."""

import random
import struct
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from .source import BAD, GOOD, JPEGS, Damage, Laid, Lay, cut, garbled, photo, saved, tree

MODES = {
    "encode": {},
    "headers": {"keep": True},
    "decode": {"keep": True, "check": "decode"},
    "raw": {"keep": True, "raw_fraction": 1.0, "format": ("webdataset", "ffcv")},
}


def claims(height: int, width: int, form: str) -> bytes:
    """A small file whose header claims this height and width."""
    data = saved(photo(9), form)
    if form == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]
    if form == "GIF":
        return data[:6] + struct.pack("<HH", width, height) + data[10:]
    if form == "BMP":
        return data[:18] + struct.pack("<ii", width, height) + data[26:]
    head = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


def with_exif(block: bytes) -> bytes:
    return JPEGS[4][:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + JPEGS[4][2:]


def tiff(*entries: tuple[int, int, int, int], then: int = 0) -> bytes:
    """EXIF with entries (tag, type, count, value); `then` is the offset of the next list of entries."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + struct.pack("<I", then)


def damaged_images() -> Iterator[tuple[str, Damage, bool]]:
    """Yield (name, bytes, whether every mode must detect the damage)."""
    plain = JPEGS[4]
    scan = plain.index(b"\xff\xda") + 14
    fixed = {"empty": b"", "start": plain[:2], "ends": plain[:2] + plain[-2:], "headers": plain[:scan] + b"\xff\xd9"}
    for name, data in fixed.items():
        yield name, data, name != "headers"
    for n in range(9):
        yield f"cut{n}", partial(cut, plain, first=1, spare=2), True
        yield f"scan{n}", partial(garbled, plain, first=scan, last=len(plain) - 2), False
    for n in range(8):
        yield f"head{n}", partial(garbled, plain, first=2, last=scan), False
    for size in (1, 2, 12, 500, 20_000):
        yield f"noise{size}", lambda rng, s=size: rng.randbytes(s), True
        yield f"framed{size}", lambda rng, s=size: plain[:2] + rng.randbytes(s) + plain[-2:], True
    for form in ("PNG", "GIF", "WEBP", "BMP", "TIFF"):
        whole = saved(photo(4), form)
        for n in range(2):
            yield f"{form}-cut{n}", partial(cut, whole, first=4, spare=40), False
            yield f"{form}-garbled{n}", partial(garbled, whole, first=4), False
            yield f"{form}-head{n}", partial(garbled, whole, first=10, last=40), False
    for form in ("JPEG", "PNG", "GIF", "BMP"):
        for size in ((65500, 65500), (65500, 1), (1, 65500), (0, 0)):
            sure = size == (65500, 65500)  # a GIF's canvas may be larger than its image, but not so much
            yield f"{form}-claims{size[0]}x{size[1]}", claims(*size, form), sure
    for name, block in {
        "none": b"Exif\0\0",
        "count": tiff((0x0112, 3, 0xFFFFFFFF, 6)),
        "type": tiff((0x0112, 99, 1, 6)),
        "text": tiff((0x0112, 2, 4, 0x00363636)),
        "large": tiff((0x0112, 3, 1, 77)),
        "rational": tiff((0x0112, 5, 1, 0xFFFFFF)),
        "loop": tiff((0x0112, 3, 1, 6), (0x8769, 4, 1, 8), then=8),
    }.items():
        yield f"exif-{name}", with_exif(block), False
    for n in range(4):
        yield f"exif-noise{n}", lambda rng: with_exif(b"Exif\0\0" + rng.randbytes(rng.randrange(1, 300))), False
        yield f"exif-garbled{n}", lambda rng: with_exif(garbled(tiff((0x0112, 3, 1, 6)), rng, 6)), False


def images() -> Iterator[tuple[str, Lay]]:
    def lay(data: Damage, mode: str, sure: bool, root: Path, rng: random.Random) -> Laid:
        where = tree(root, {**GOOD, BAD: data(rng) if callable(data) else data})
        return Laid(where, (BAD,), MODES[mode], known=sure)

    for number, (name, data, sure) in enumerate(damaged_images()):
        modes = list(MODES)[:3] if sure and "noise" not in name else [list(MODES)[number % len(MODES)]]
        for mode in modes:
            yield f"{name}-{mode}", partial(lay, data, mode, sure)
    yield "claims13000-encode", partial(lay, claims(13000, 13000, "JPEG"), "encode", True)
