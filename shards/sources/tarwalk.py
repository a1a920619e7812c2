"""Where the members of a tar lie, by reading headers alone: a tar inside a tar is a range of the outer file.

Not `tarfile`: it keeps an object for every member, takes a file that was cut off for a shorter one, and needs five
times as long for a header.
"""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from ..errors import UserError

BLOCK = 512
FILES, LINKS, SPARSE = b"07\0", b"12", b"S"  # types of members, a byte each
LONG_NAME, LONG_LINK, PAX, PAX_ALL = b"L", b"K", b"x", b"g"
BARE = b"123456"  # links, devices and folders: their header may give a size, and yet nothing follows
LONGEST_HEADER = 1 << 20  # bytes of a name or a pax header; a longer one is damage
MOST_DIGITS = 20  # of a number in a pax header; Python refuses thousands


class Member(NamedTuple):
    """A regular file in a tar."""

    name: str
    offset: int  # of its bytes, in the file that was opened
    size: int


def members(file: BinaryIO, name: str, start: int = 0, end: int | None = None) -> Iterator[Member]:
    """The regular files of the tar in bytes [start, end) of `file`, in order; UserError when it is damaged or cut."""
    end = file.seek(0, 2) if end is None else end
    at, given = start, {}  # given: what an extended header says of the member behind it
    while (header := _header(file, name, at, end)) is not None:
        title, size, kind = header
        data = at + BLOCK
        if kind in FILES:
            title, size = given.get("path", title), int(given.get("size", size))
        elif kind in BARE:
            size = 0
        if data + size > end:
            raise _cut(name, end, f"{title!r} at byte {at} goes on to byte {data + size}")
        if kind in (LONG_NAME, PAX):
            given = given | _extended(file, name, kind, data, size)
        elif kind not in (LONG_LINK, PAX_ALL):
            if kind in LINKS or kind == SPARSE or "sparse" in given:
                said = "a link" if kind in LINKS else "a sparse file"
                told = given.get("path", title)
                raise UserError(f"{told!r} in {name} is {said}: pack it with tar --dereference --hard-dereference")
            if kind in FILES and not title.endswith("/"):  # old tars mark folders so
                yield Member(title, data, size)
            given = {}
        at = data + size + -size % BLOCK


def _header(file: BinaryIO, name: str, at: int, end: int) -> tuple[str, int, bytes] | None:
    """(name, size, type) of a member; None at the end mark, a block of zeros."""
    file.seek(at)
    block = file.read(min(BLOCK, max(0, end - at)))
    if len(block) < BLOCK:
        raise _cut(name, end, f"it has no end mark at byte {at}")
    if not block.strip(b"\0"):
        return None
    try:
        # The checksum counts its own field as spaces. A size too large for octal digits is binary, marked by 0x80.
        if sum(block) - sum(block[148:156]) + 8 * ord(" ") != _octal(block[148:156]):
            raise ValueError("its checksum is wrong")
        size = int.from_bytes(block[125:136], "big") if block[124] == 0x80 else _octal(block[124:136])
    except ValueError as error:
        raise UserError(f"{name} is no tar, or damaged at byte {at} ({error}): fetch it again") from error
    raw = block[:100].split(b"\0", 1)[0]
    if block[345] and block[257:263] == b"ustar\0":
        raw = block[345:500].split(b"\0", 1)[0] + b"/" + raw
    return raw.decode(errors="surrogateescape"), size, block[156:157]


def _octal(field: bytes) -> int:
    digits = field.split(b"\0", 1)[0].strip() or b"0"
    if not digits.isdigit():  # int() takes a sign: a walk with members of less than nothing would go in circles
        raise ValueError(f"{digits!r} is no number")
    return int(digits, 8)


def _extended(file: BinaryIO, name: str, kind: bytes, data: int, size: int) -> dict[str, str]:
    """A long name, or the records `length key=value` of a pax header."""
    if size > LONGEST_HEADER:
        raise UserError(f"{name} is damaged at byte {data}: a name of {size} bytes; fetch it again")
    file.seek(data)
    text = file.read(size)
    if kind == LONG_NAME:
        return {"path": text.split(b"\0", 1)[0].decode(errors="surrogateescape")}
    found: dict[str, str] = {}
    text, at = text.rstrip(b"\0"), 0
    while at < len(text):
        digits = text[at : at + MOST_DIGITS].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        key, equals, value = text[at + len(digits) + 1 : at + length].removesuffix(b"\n").partition(b"=")
        if not equals or (key == b"size" and not (value.isdigit() and len(value) < MOST_DIGITS)):
            raise UserError(f"{name} is damaged at byte {data}: a pax header that is none; fetch it again")
        if key in (b"path", b"size") or key.startswith(b"GNU.sparse"):
            found[key.removeprefix(b"GNU.")[:6].decode()] = value.decode(errors="surrogateescape")
        at += length
    return found


def _cut(name: str, end: int, fact: str) -> UserError:
    return UserError(f"{name} is cut off at byte {end}: {fact}; fetch it again")
