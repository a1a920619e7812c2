"""Flipped bits: a file with one other bit, at places that a seed chooses."""

import random
from collections.abc import Iterator
from pathlib import Path


def flipped(data: bytes, bit: int) -> bytes:
    """The same bytes with one other bit."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def flips(file: Path, tries: int, seed: int = 0) -> Iterator[int]:
    """Write `file` again with one flipped bit, `tries` times; yields the bit. In the end the file is as it was."""
    data, chosen = file.read_bytes(), random.Random(seed)
    try:
        for bit in (chosen.randrange(8 * len(data)) for _ in range(tries)):
            file.write_bytes(flipped(data, bit))
            yield bit
    finally:
        file.write_bytes(data)
