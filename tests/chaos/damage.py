"""What disks do to files: a flipped bit, a lost end, a page of zeros."""

import random

PAGE = 4096


def damaged(data: bytes, chance: random.Random) -> tuple[bytes, str]:
    """Other bytes than `data`, and what was done: in 8 of 10 tries one bit is flipped."""
    way, at = chance.random(), chance.randrange(len(data))
    if way < 0.8:
        bit = chance.randrange(8)
        return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :], f"bit {bit} of byte {at:,} flipped"
    page = at // PAGE * PAGE
    zeros = data[:page] + bytes(len(data[page : page + PAGE])) + data[page + PAGE :]
    if way < 0.9 and zeros != data:
        return zeros, f"zeros from byte {page:,} on"
    return data[:at], f"cut off at byte {at:,}"
