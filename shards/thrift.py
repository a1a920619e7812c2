"""Thrift's compact protocol, as the headers of Parquet pages are written: pyarrow shows none of them."""

from typing import Any

I32, STRUCT = 5, 12  # kinds of fields
DEPTH = 8  # of structures in each other

Fields = dict[tuple[int, int], Any]  # by number and kind


def structure(data: bytes, at: int, depth: int = 0) -> tuple[Fields, int]:
    """The numbers of 32 bits and the structures in the structure at byte `at`, and where it ends.

    IndexError when `data` ends before it does; ValueError when it is none."""
    fields, number = Fields(), 0
    while head := data[at]:
        at += 1
        step, kind = head >> 4, head & 15
        if step:
            number += step
        else:
            number, at = _signed(data, at)
        if kind == STRUCT:
            if depth == DEPTH:
                raise ValueError("a page is nested too deeply")
            fields[number, kind], at = structure(data, at, depth + 1)
        elif kind == I32:
            fields[number, kind], at = _signed(data, at)
        else:
            at = _passed(data, at, kind)
    return fields, at + 1


def _passed(data: bytes, at: int, kind: int) -> int:
    """Where a value of no use ends."""
    if kind in (1, 2):  # true and false
        return at
    if kind == 3:
        return at + 1
    if kind in (4, 6):
        return _varint(data, at)[1]
    if kind == 7:
        return at + 8
    if kind == 8:
        length, at = _varint(data, at)
        return at + length
    raise ValueError(f"a page has a field of kind {kind}")  # lists and maps, which no page has


def _signed(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return value >> 1 ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
        if shift > 70:
            raise ValueError("a page has a number without an end")
