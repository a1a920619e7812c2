"""WebDataset tars: for each sample the members `key.jpg`, `key.cls`, `key.json`. The same samples give the same bytes.

Further members that a build carries along, its fields, come after these.

Each tar has DALI's index (`.idx`, in the layout of its wds2idx), and the set has one list of its tars as the wids
library reads it, so that other readers need no scan.
"""

import hashlib
import itertools
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from ..errors import UserError
from ..info import JSON

BLOCK = tarfile.BLOCKSIZE
FIXED = b"0000644\0" + b"0000000\0" * 2  # mode, owner, group: nothing that depends on the machine
TAIL = b"0" + bytes(100) + b"ustar\x0000" + bytes(247)  # a plain file without an owner's name
CONSTANT = sum(FIXED) + 11 * ord("0") + 8 * ord(" ") + sum(TAIL)  # checksum without name and size


def header(name: str, size: int) -> bytes:
    """The 512 bytes before a member: as `tarfile` makes them for USTAR, but five times as fast; a sample has three."""
    raw, length = name.encode().ljust(100, b"\0"), b"%011o" % size
    if len(raw) > 100 or len(length) > 11:  # not an image, whose key is short: a field with a long suffix
        raise UserError(
            f"{name} of {size:,} bytes does not fit a tar: names have at most 100 bytes, give it a shorter one"
        )
    checksum = sum(raw) + sum(length) + CONSTANT
    return b"".join((raw, FIXED, length, b"\0", b"0" * 11, b"\0", b"%06o\0 " % checksum, TAIL))


def members(key: str, label: int, height: int, width: int) -> tuple[bytes, bytes]:
    """The contents of the small members after a JPEG: `.cls` and `.json`."""
    name = json.dumps(key, ensure_ascii=False)
    page = f'{{"key": {name}, "label": {label}, "height": {height}, "width": {width}}}'
    return str(label).encode(), page.encode()


def around(
    key: str, label: int, size: int, height: int, width: int, fields: Iterable[tuple[str, bytes | None]] = ()
) -> tuple[bytes, bytes]:
    """The tar bytes before and after a sample's JPEG of `size` bytes. `fields`: suffixes, contents, None = absent."""
    after = [bytes(-size % BLOCK)]
    small = zip(("cls", "json"), members(key, label, height, width), strict=True)
    for suffix, data in itertools.chain(small, ((stored_suffix(name), data) for name, data in fields)):
        if data is not None:
            after += [header(f"{key}.{suffix}", len(data)), data, bytes(-len(data) % BLOCK)]
    return header(f"{key}.jpg", size), b"".join(after)


def stored_suffix(field: str) -> str:
    """The suffix that a field has in our tars: a `.json` of the source lies beside our own."""
    return "source.json" if field == "json" else field


class TarWriter:
    """Appends samples to an open tar and computes its digest (digest.py)."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.bytes, self.digest = file, 0, hashlib.sha256()

    def write(self, data: memoryview | bytes, digested: bytes) -> None:
        """Append the members of samples; `digested` is `data` with digests in place of JPEGs."""
        self.file.write(data)
        self.digest.update(digested)
        self.bytes += len(data)

    def end(self) -> None:
        """Append what ends a tar: two empty blocks, and zeros up to a full record."""
        padding = bytes(2 * BLOCK + -(self.bytes + 2 * BLOCK) % tarfile.RECORDSIZE)
        self.write(padding, padding)


def dali_index(rows: Iterable[tuple[str, int, int, int, int, int, list[int]]], fields: Sequence[str] = ()) -> str:
    """DALI's index of a tar with samples (key, label, height, width, offset of the JPEG, its bytes, bytes of each of
    `fields`, -1 = absent), in order."""
    lines = []
    suffixes = ("jpg", "cls", "json", *map(stored_suffix, fields))
    for key, label, height, width, offset, size, more in rows:
        parts, name = [], "_".join(key.split())  # DALI splits lines at white space; it uses the name only in messages
        lengths = (size, *map(len, members(key, label, height, width)), *more)
        for suffix, length in zip(suffixes, lengths, strict=True):
            if length >= 0:
                parts.append(f"{suffix} {offset} {length} {name}.{suffix}")
                offset += length + -length % BLOCK + BLOCK
        lines.append(" ".join(parts))
    return "\n".join([f"v1.2 {len(lines)}", *lines, ""])


def wids_index(name: str, tars: Iterable[JSON]) -> str:
    """The list of tars in the format of wids."""
    shards: list[dict[str, Any]] = [
        {"url": tar["file"], "nsamples": tar["samples"], "filesize": tar["bytes"]} for tar in tars
    ]
    page = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "name": name, "shardlist": shards}
    return json.dumps(page, indent=1) + "\n"


def index_path(tar: Path) -> Path:
    """The path of a tar's DALI index."""
    return tar.with_suffix(".idx")
