"""Members of a tar and their byte ranges, from the headers alone. A tar in a tar is a range of the outer file.

`tarfile` does not serve: it keeps an object for every member, accepts a file that was cut off as a shorter one, and
takes five times as long per header.
"""

from collections.abc import Generator, Iterator
from typing import BinaryIO, NamedTuple

from ..errors import UserError

BLOCK = 512
PIECE = 1 << 16  # bytes of zeros that are read at a time; a multiple of BLOCK
FILES, LINKS, SPARSE = b"07\0", b"12", b"S"  # types of members, a byte each
LONG_NAME, LONG_LINK, PAX, PAX_ALL = b"L", b"K", b"x", b"g"
NO_DATA = b"123456"  # links, devices and folders: the header may give a size, but no data follow
LONGEST_HEADER = 1 << 20  # bytes of a long name or a pax header; more means damage
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\3\4": "zip"}
MAX_DIGITS = 20  # of a number in a pax header; int() refuses thousands


class Member(NamedTuple):
    """A regular file in a tar."""

    name: str
    offset: int  # of its first byte, in the opened file
    size: int


def members(file: BinaryIO, name: str, start: int = 0, end: int | None = None) -> Iterator[Member]:
    """The regular files of the tar in bytes [start, end) of `file`, in order; UserError for damage or a link.

    Tars that were concatenated are read one after the other; only zeros may come between and after them."""
    end = file.seek(0, 2) if end is None else end
    at: int | None = start
    while at is not None:
        at = _next_tar(file, (yield from _members(file, name, at, end)), end)


def _members(file: BinaryIO, name: str, at: int, end: int) -> Generator[Member, None, int]:
    """The regular files of the tar that begins at byte `at`; returns the byte of its end mark."""
    extended: dict[str, str] = {}  # extended: path and size of the next member, from extended headers
    while (header := _header(file, name, at, end)) is not None:
        path, size, kind = header
        data = at + BLOCK
        if kind in FILES:
            path, size = extended.get("path", path), int(extended.get("size", size))
        elif kind in NO_DATA:
            size = 0
        if data + size > end:
            raise _cut(name, end, f"{path!r} begins at byte {at} and ends at byte {data + size}")
        if kind in (LONG_NAME, PAX):
            extended = extended | _extended(file, name, kind, data, size)
        elif kind not in (LONG_LINK, PAX_ALL):
            if kind in LINKS or kind == SPARSE or "sparse" in extended:
                fault = "a link" if kind in LINKS else "a sparse file"
                path = extended.get("path", path)
                raise UserError(f"{path!r} in {name} is {fault}: pack it with tar --dereference --hard-dereference")
            if kind in FILES and not path.endswith("/"):  # old tars mark a folder by its slash
                yield Member(path, data, size)
            extended = {}
        at = data + size + -size % BLOCK
    return at


def _next_tar(file: BinaryIO, at: int, end: int) -> int | None:
    """The first block from byte `at` on that holds anything but zeros; None without one."""
    file.seek(at)
    while piece := file.read(min(PIECE, end - at)):
        zeros = len(piece) - len(piece.lstrip(b"\0"))
        if zeros < len(piece):
            return at + zeros // BLOCK * BLOCK
        at += len(piece)
    return None


def _header(file: BinaryIO, name: str, at: int, end: int) -> tuple[str, int, bytes] | None:
    """(path, size, type) of a member; None at the end mark, a block of zeros."""
    file.seek(at)
    block = file.read(min(BLOCK, max(0, end - at)))
    if len(block) < BLOCK:
        raise _compressed(name, block) or _cut(name, end, f"it has no end mark at byte {at}")
    if not block.strip(b"\0"):
        return None
    try:
        # The checksum counts its own field as spaces.
        if sum(block) - sum(block[148:156]) + 8 * ord(" ") != _octal(block[148:156]):
            raise ValueError("its checksum is wrong")
        return parsed(block)
    except ValueError as error:
        damaged = UserError(f"{name} is no tar, or damaged at byte {at} ({error}): fetch it again")
        raise _compressed(name, block) or damaged from error


def parsed(block: bytes) -> tuple[str, int, bytes]:
    """(path, size, type) in the header of a member; ValueError where the size is no number."""
    # A size too large for octal digits is binary, marked by 0x80.
    size = int.from_bytes(block[125:136], "big") if block[124] == 0x80 else _octal(block[124:136])
    raw = block[:100].split(b"\0", 1)[0]
    if block[345] and block[257:263] == b"ustar\0":
        raw = block[345:500].split(b"\0", 1)[0] + b"/" + raw
    return raw.decode(errors="surrogateescape"), size, block[156:157]


def _compressed(name: str, block: bytes) -> UserError | None:
    """The error for the first bytes of a compressed file, None for others."""
    kind = next((kind for magic, kind in PACKED.items() if block.startswith(magic)), "")
    return (
        UserError(f"{name} is compressed by {kind}: unpack it to a plain tar, images are read in place")
        if kind
        else None
    )


def _octal(field: bytes) -> int:
    """A header's number; ValueError for anything but octal digits."""
    digits = field.split(b"\0", 1)[0].strip() or b"0"
    if not digits.isdigit():  # int() accepts a sign, and a negative size would make the walk endless
        raise ValueError(f"{digits!r} is no number")
    return int(digits, 8)


def _extended(file: BinaryIO, name: str, kind: bytes, data: int, size: int) -> dict[str, str]:
    """{"path", "size", "sparse": value} from a long name or the records `length key=value` of a pax header."""
    if size > LONGEST_HEADER:
        raise UserError(f"{name} is damaged at byte {data}: a name of {size} bytes; fetch it again")
    file.seek(data)
    text = file.read(size)
    if kind == LONG_NAME:
        return {"path": text.split(b"\0", 1)[0].decode(errors="surrogateescape")}
    found: dict[str, str] = {}
    text, at = text.rstrip(b"\0"), 0
    while at < len(text):
        digits = text[at : at + MAX_DIGITS].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        key, equals, value = text[at + len(digits) + 1 : at + length].removesuffix(b"\n").partition(b"=")
        if not equals or (key == b"size" and not (value.isdigit() and len(value) < MAX_DIGITS)):
            raise UserError(f"{name} is damaged at byte {data}: its pax header is malformed; fetch it again")
        if key in (b"path", b"size") or key.startswith(b"GNU.sparse"):
            found[key.removeprefix(b"GNU.")[:6].decode()] = value.decode(errors="surrogateescape")
        at += length
    return found


def _cut(name: str, end: int, fact: str) -> UserError:
    return UserError(f"{name} is cut off at byte {end}: {fact}; fetch it again")
