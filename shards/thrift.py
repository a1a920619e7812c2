"""Thrift's compact protocol, in which Parquet describes tables and pages. Of pages pyarrow shows nothing, and of a
column with damaged statistics it ends the process."""

from typing import Any

I32, I64, TEXT, LIST, STRUCT = 5, 6, 8, 9, 12  # kinds of fields
DEPTH = 8  # of structures in each other

Fields = dict[tuple[int, int], Any]  # by number and kind


def structure(data: bytes, at: int, depth: int = 0) -> tuple[Fields, int]:
    """The values in the structure at byte `at`, and where it ends.

    IndexError when `data` ends before it does; ValueError when it is none."""
    fields, number = Fields(), 0
    while head := data[at]:
        at += 1
        step, kind = head >> 4, head & 15
        if step:
            number += step
        else:
            number, at = _signed(data, at)
        fields[number, kind], at = _value(data, at, kind, depth)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    """A value, None for one of no use, and where it ends."""
    if kind == STRUCT:
        if depth == DEPTH:
            raise ValueError("a description is nested too deeply")
        return structure(data, at, depth + 1)
    if kind in (I32, I64, 4):
        return _signed(data, at)
    if kind == TEXT:
        length, at = _varint(data, at)
        if at + length > len(data):
            raise IndexError
        return data[at : at + length], at + length
    if kind in (LIST, 10):
        return _list(data, at, depth)
    if kind in (1, 2, 3, 7):  # true, false, a byte, a float
        return None, at + (0 if kind < 3 else 1 if kind == 3 else 8)
    raise ValueError(f"a description has a field of kind {kind}")  # maps, which no table has


def _list(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    head, at = data[at], at + 1
    count, kind = head >> 4, head & 15
    if count == 15:
        count, at = _varint(data, at)
    values = []
    for _ in range(count):
        if at >= len(data):
            raise IndexError
        value, at = (None, at + 1) if kind in (1, 2) else _value(data, at, kind, depth)
        values.append(value)
    return values, at


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
