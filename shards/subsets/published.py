"""The published lists: found in a folder, or fetched once from their authors, and always checked by content.

They are other people's files and no part of this project; what is written down here are the figures that identify them.
"""

import hashlib
import http.client
import os
import urllib.request
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from ..files import atomic
from ..lists import class_names, parse, read
from ..sources.source import Source
from .lists import Listing

BALFEAT = "https://raw.githubusercontent.com/bingykang/BalFeat/7a05423797035ef8a1e57d5ac1442ca0ffc545b7/data"
BALANCING = (
    "https://raw.githubusercontent.com/facebookresearch/classifier-balancing/"
    "22370c64141cc662f62ead89447c838c4a7977b5/data/ImageNet_LT"
)
CLASSES = 1000  # of ImageNet
DRAW = "draw the same counts with --draw-subset"
COMPUTE = "compute it from the sorted classes with --draw-subset"
WHOLE = "take the whole validation split, the same images, with --subset full --split val"


class Published(NamedTuple):
    """A list file, and what it must contain."""

    file: str
    blob: str  # git's hash of the text
    lines: int
    most: int  # of a class
    least: int
    exponent: float | None = None  # of the long tail, spec of `draws.drawn_counts`; None = no such shape
    split: tuple[str, str] = ("train", "train")  # that of the listed images, and that which the set is for
    base: str = BALFEAT  # where its authors keep it, at a pinned commit
    there: str = ""  # its name there, if another
    instead: str = DRAW  # what to do without it


PUBLISHED = {
    "lt0": Published("imagenet_100k_train.txt", "60d3dfaf2cd3856301b81c2288be49eb4bc7a3ad", 115_000, 115, 115, 0.0),
    "lt2": Published("imagenet_lt2_train.txt", "a5f9c26b4cad46bc0bf899dfdaad13a0509ecc8e", 115_885, 204, 67, 0.2),
    "lt4": Published("imagenet_lt4_train.txt", "0568c6031da4683557233105ac815ef497d8cbe2", 115_801, 343, 37, 0.4),
    "lt6": Published("imagenet_lt6_train.txt", "fa9d84a4963cbf64b2b18bfe1bf18f06035758b6", 115_836, 553, 20, 0.6),
    "lt8": Published("imagenet_lt8_train.txt", "530c5f727261e028b848dd8bc1b060f08bfce956", 115_852, 857, 10, 0.8),
    "lt": Published(
        "imagenet_longtail_train.txt", "a063f095fcd475db4cf8b0658c4b73955535bbf9", 115_846, 1280, 5, 1.0,
        base=BALANCING, there="ImageNet_LT_train.txt",
    ),
    "100kp": Published("imagenet_100kp_train.txt", "4157aa825927667c05fb82d1d966e8a092813e9c", 116_000, 116, 116),
    "lt-val": Published(
        "imagenet_longtail_val.txt", "3ed3188b2f44829ce2dec1cc27040d8d40984088", 20_000, 20, 20,
        split=("train", "val"), base=BALANCING, there="ImageNet_LT_val.txt",
    ),
    "lt-test": Published(
        "imagenet_longtail_test.txt", "76a2fb9749d6cd29e765cc4f8c270f2504131e2f", 50_000, 50, 50,
        split=("val", "val"), base=BALANCING, there="ImageNet_LT_test.txt", instead=WHOLE,
    ),
}  # fmt: skip
CLASSSETS = {  # these list classes, each once
    name: Published(f"imagenet_{name}.txt", blob, 500, 1, 1, instead=COMPUTE)
    for name, blob in {
        "clsset1": "91bee1406a751f81421f5f450674cc683d21bbe5",
        "clsset1_comp": "b38f87c33718a604360da5ec826ad0878b7ba811",
        "clsset2": "ee6b0210b89d62aa75fb8754e9da462dda10239b",
        "clsset2_comp": "fab9743158e4f4eb098de8c3df915888877c936c",
    }.items()
}


def listing(name: str, folder: Path | None, source: Source) -> Listing:
    """The published list of subset `name`; UserError when the source's classes are not those it is about."""
    if len(source.classes) != CLASSES:  # said before anything is fetched
        raise _foreign(source, name)
    wanted = PUBLISHED[name]
    text = text_of(wanted, folder)
    paths, label = parse(text, wanted.file)
    counts = np.bincount(label)
    found = (len(paths), int(counts.max()), int(counts.min()))
    assert found == wanted[2:5], found  # the blob matched: our own table would be wrong
    if any(source.classes[c] != path.partition("/")[0] for path, c in zip(paths, label.tolist(), strict=True)):
        raise _foreign(source, name)
    return Listing(wanted.file, paths, label, hashlib.sha256(text).hexdigest())


def class_listing(name: str, folder: Path | None) -> tuple[list[str], str]:
    """The class names of a published class set, and the sha256 of its text."""
    text = text_of(CLASSSETS[name], folder)
    return class_names(text, CLASSSETS[name].file), hashlib.sha256(text).hexdigest()


def text_of(wanted: Published, folder: Path | None) -> bytes:
    """A list's text: from `folder`, else $VIEWSTREAM_LISTS, else the user's cache or the net."""
    folder = named(folder)
    if folder is None:
        return _cached(wanted)
    path = held(wanted, folder)
    if path is None:
        raise UserError(f"{folder} has no {wanted.file} and no {wanted.file}.gz: put it there, or {wanted.instead}")
    text, _ = read(path)
    if blob(text) != wanted.blob:
        raise UserError(
            f"{path} is not the published list (git blob {blob(text)}, not {wanted.blob}): fetch it from {wanted.base}"
        )
    return text


def named(folder: Path | None) -> Path | None:
    """The folder of lists that the user named, by the option or in the environment."""
    environment = os.environ.get("VIEWSTREAM_LISTS")
    return folder or (Path(environment) if environment else None)


def held(wanted: Published, folder: Path) -> Path | None:
    """The list's file in a folder, under either name, plain or packed."""
    names = [name + suffix for name in (wanted.file, wanted.there) if name for suffix in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).exists()), None)


def _foreign(source: Source, name: str) -> UserError:
    shape = PUBLISHED[name].exponent is not None
    remedy = "--draw-subset draws the same shape from these" if shape else "name a list of these with --subset FILE"
    return UserError(
        f"--subset {name} is a list of ImageNet's {CLASSES} classes, {source.name} has {len(source.classes)} "
        f"({', '.join(source.classes[:3])}, ...): {remedy}"
    )


def _cached(wanted: Published) -> bytes:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "viewstream" / "lists" / wanted.file
    if cache.exists() and blob(text := cache.read_bytes()) == wanted.blob:
        return text
    mirror = os.environ.get("VIEWSTREAM_LISTS_URL")  # one place for all, so under the names that a folder has
    url = f"{mirror}/{wanted.file}" if mirror else f"{wanted.base}/{wanted.there or wanted.file}"
    remedy = f"name a folder that has {wanted.file} with --lists DIR, or {wanted.instead}"
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            text = reply.read()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UserError(f"cannot fetch {url} ({error}): {remedy}") from error
    if blob(text) != wanted.blob:
        raise UserError(f"{url} sent another file (git blob {blob(text)}, not {wanted.blob}): {remedy}")
    cache.parent.mkdir(parents=True, exist_ok=True)
    with atomic(cache) as file:
        file.write(text)
    return text


def blob(text: bytes) -> str:
    """Git's name for a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(text) + text).hexdigest()
