"""Samples of WebDataset tars: an image `key.jpg`, its label in `key.cls` or `key.json`, side by side."""

import itertools
import json
import operator
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from ..errors import UserError
from .classes import MAX_CLASSES
from .images import SUFFIXES
from .storage import Storage
from .tarwalk import members

KEY = re.compile(r"(?:\./)?((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)  # up to the first dot of the file's name
LONGEST_NOTE = 1 << 20  # bytes of a .cls or .json


class Sample(NamedTuple):
    """An image in a tar."""

    tar: int  # number of the tar
    offset: int
    length: int
    key: str
    suffix: str  # of the image, in its own case
    label: int | None


class SampleFile(NamedTuple):
    """A member of a tar that has a key."""

    key: str
    suffix: str
    offset: int
    length: int
    note: bytes  # content of a .cls or .json


def samples(files: Storage, tars: list[str]) -> Iterator[Sample]:
    """The images of tars, in order; UserError for a damaged tar or label, or two images with one key."""
    for number, tar in enumerate(tars):
        name = files.show(tar)
        with files.open(tar) as file:
            for _, parts in itertools.groupby(_parts(file, name), operator.attrgetter("key")):
                if (sample := _sample(number, list(parts), name)) is not None:
                    yield sample


def _parts(file: BinaryIO, tar: str) -> Iterator[SampleFile]:
    """The members that have a key, with the content of notes."""
    for name, offset, size in members(file, tar):
        if match := KEY.fullmatch(name):
            key, suffix = match.groups()
            note = b""
            if suffix in ("cls", "json") and size <= LONGEST_NOTE:
                file.seek(offset)
                note = file.read(size)
            yield SampleFile(key, suffix, offset, size, note)


def _sample(number: int, parts: list[SampleFile], tar: str) -> Sample | None:
    """The sample that the parts make; None without an image."""
    images = [part for part in parts if f".{part.suffix.lower()}" in SUFFIXES]
    if not images:
        return None
    key, suffix, offset, length, _ = images[0]
    if len(images) > 1:
        suffixes = " and ".join(part.suffix for part in images)
        raise UserError(f"{tar} has several images of key {key} ({suffixes}): leave one image per key")
    notes = {part.suffix: part.note for part in parts}
    try:
        label = int(notes["cls"]) if "cls" in notes else _label_of(notes.get("json"))
        if label is not None and not -1 <= label < MAX_CLASSES:
            raise ValueError(f"{label} is no class")
    except (ValueError, RecursionError) as error:
        raise UserError(f"{tar}: the label of {key} cannot be read ({error}): .cls is a whole number") from error
    return Sample(number, offset, length, key, suffix, label)


def _label_of(note: bytes | None) -> int | None:
    """The label in a .json, if there is one."""
    if note is None:
        return None
    fields = json.loads(note)
    found = [fields[name] for name in ("label", "cls") if name in fields] if isinstance(fields, dict) else []
    return found[0] if found and type(found[0]) is int else None
