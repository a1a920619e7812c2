"""Variables of a MATLAB 5 file: numbers, text, cells and structs, as the development kit of ILSVRC uses them."""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..unpack import inflate

COMPRESSED, MATRIX = 15, 14
NUMBERS = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
CELL, STRUCT, TEXT = 1, 2, 4  # classes of a matrix; the others hold numbers
ENCODINGS = {4: "utf-16-le", 16: "utf-8", 17: "utf-16-le"}  # text, by the type of its element


def load(data: bytes) -> dict[str, Any]:
    """Variables by name: lists of numbers, strings, lists of cells, lists of dicts; ValueError for any other file."""
    if len(data) < 128 or data[126:128] != b"IM":
        raise ValueError("this is no MATLAB 5 file of a little-endian machine")
    try:
        return dict(_matrix(body) for kind, body in _elements(data[128:]) if kind == MATRIX)
    except (RuntimeError, struct.error, zlib.error, KeyError, IndexError) as error:  # a part is missing, or too deep
        raise ValueError(f"this MATLAB file is damaged ({error!r})") from error


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, content) of each element in turn. The tag itself can hold up to 4 bytes of content."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if kind >> 16:
            yield kind & 0xFFFF, data[at + 4 : at + 4 + (kind >> 16)]
            at += 8
            continue
        body = data[at + 8 : at + 8 + size]
        if len(body) < size:
            raise ValueError("this MATLAB file is cut off")
        at += 8 + size
        if kind == COMPRESSED:
            yield from _elements(inflate(body))
        else:
            at += -size % 8
            yield kind, body


def _matrix(body: bytes) -> tuple[str, Any]:
    """(name, value) of a matrix element: flags, shape and name, then parts that depend on its class."""
    if not body:  # an empty cell
        return "", []
    parts = _elements(body)
    flags, _shape, raw_name = (next(parts)[1] for _ in range(3))
    name = raw_name.decode()
    if flags[0] == CELL:
        return name, [_matrix(part)[1] for _, part in parts]
    if flags[0] == STRUCT:
        width = int.from_bytes(next(parts)[1], "little")
        names = next(parts)[1]
        fields = [names[i : i + width].split(b"\0")[0].decode() for i in range(0, len(names), width)]
        values = [_matrix(part)[1] for _, part in parts]
        return name, [dict(zip(fields, values[i:], strict=False)) for i in range(0, len(values), len(fields))]
    kind, raw = next(parts)
    if flags[0] == TEXT:
        return name, raw.decode(ENCODINGS.get(kind, "latin-1"))
    return name, np.frombuffer(raw, NUMBERS[kind]).tolist()
