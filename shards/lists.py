"""The published list files: found in a folder, or fetched once from their authors, and always checked by content.

They are other people's files and no part of this project; what is written down here are the figures that identify them.
"""

import gzip
import hashlib
import http.client
import os
import urllib.request
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .errors import UserError
from .files import atomic

BALFEAT = "https://raw.githubusercontent.com/bingykang/BalFeat/7a05423797035ef8a1e57d5ac1442ca0ffc545b7/data"


class Published(NamedTuple):
    """A list file, and what it must contain."""

    file: str
    base: str  # where its authors keep it, at a pinned commit
    blob: str  # git's hash of the text
    lines: int
    most: int  # of a class
    least: int
    exponent: float  # of the long tail; spec of `subsets.drawn_counts`


PUBLISHED = {
    "lt6": Published(
        "imagenet_lt6_train.txt", BALFEAT, "fa9d84a4963cbf64b2b18bfe1bf18f06035758b6", 115_836, 553, 20, exponent=0.6
    )
}


class Listing(NamedTuple):
    """A list file as read."""

    paths: list[str]  # [N] class/file
    label: np.ndarray  # [N] int32
    sha256: str  # of the text


def listing(name: str, folder: Path | None) -> Listing:
    """The published list of subset `name`: from `folder`, else $VIEWSTREAM_LISTS, else the user's cache or the net."""
    wanted = PUBLISHED[name]
    if folder is None and (named := os.environ.get("VIEWSTREAM_LISTS")):
        folder = Path(named)
    text = _cached(wanted) if folder is None else _local(folder, wanted)
    paths, label = parse(text, wanted.file)
    counts = np.bincount(label)
    found = (len(paths), int(counts.max()), int(counts.min()))
    assert found == (wanted.lines, wanted.most, wanted.least), found  # the blob matched: our own table would be wrong
    return Listing(paths, label, hashlib.sha256(text).hexdigest())


def parse(text: bytes, name: str) -> tuple[list[str], np.ndarray]:
    """Lines `path label`; `train/c/f`, `/c/f` and `c/f` all mean class/file. Further fields are ignored."""
    paths, labels = [], []
    for number, line in enumerate(text.decode().splitlines(), start=1):
        words = line.split()
        if len(words) < 2 or not words[1].isdecimal():
            raise UserError(f"{name} line {number} is {line!r}, not `path label`: is it a list file?")
        paths.append(words[0].removeprefix("train/").lstrip("/"))
        labels.append(int(words[1]))
    return paths, np.array(labels, np.int32)


def _local(folder: Path, wanted: Published) -> bytes:
    plain, packed = folder / wanted.file, folder / f"{wanted.file}.gz"
    if plain.exists():
        path, text = plain, plain.read_bytes()
    elif packed.exists():
        path, text = packed, _unpack(packed)
    else:
        raise UserError(f"{folder} has no {wanted.file} and no {packed.name}: put it there, or use --draw-subset")
    if blob(text) != wanted.blob:
        raise UserError(
            f"{path} is not the published list (git blob {blob(text)}, not {wanted.blob}): fetch it from {wanted.base}"
        )
    return text


def _unpack(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise UserError(f"{path} is damaged ({error}): fetch it again") from None


def _cached(wanted: Published) -> bytes:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "viewstream" / "lists" / wanted.file
    if cache.exists() and blob(text := cache.read_bytes()) == wanted.blob:
        return text
    url = f"{os.environ.get('VIEWSTREAM_LISTS_URL') or wanted.base}/{wanted.file}"
    remedy = "name a folder that has it with --lists DIR, or draw the same counts with --draw-subset"
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            text = reply.read()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UserError(f"cannot fetch {url} ({error}): {remedy}") from None
    if blob(text) != wanted.blob:
        raise UserError(f"{url} sent another file (git blob {blob(text)}, not {wanted.blob}): {remedy}")
    cache.parent.mkdir(parents=True, exist_ok=True)
    with atomic(cache) as file:
        file.write(text)
    return text


def blob(text: bytes) -> str:
    """Git's name for a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(text) + text).hexdigest()
