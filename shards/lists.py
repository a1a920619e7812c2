"""List files: one line per image with its label, or one per class. Every line is checked, in published lists too."""

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from .errors import UserError, choose

LARGEST_LABEL = 10_000_000  # a larger number is no label: a size or a hash
SPLIT = re.compile("^(train|val)/")
SHOWN = 20  # names in a message


def parse(text: bytes, name: str) -> tuple[list[str], np.ndarray]:
    """(paths, label [N] int32) from lines `path label`, or from paths alone with label -1. Further fields are ignored.

    `train/c/f`, `val/c/f`, `/c/f` and `c/f` all mean class/file. UserError with the line for anything else, or for a
    path that was there before.
    """
    lines: dict[str, int] = {}  # path -> number of its line
    labels: list[int] = []
    unlabeled = None  # whether the lines are paths alone, by the first line
    for number, line, fields in _lines(text, name):
        path = SPLIT.sub("", fields[0], count=1).lstrip("/")
        unlabeled = len(fields) == 1 if unlabeled is None else unlabeled
        valid = len(fields) == 1 if unlabeled else len(fields) > 1 and fields[1].removeprefix("-").isdecimal()
        if not path or not valid:
            expected = "a path without a label, as the lines before" if unlabeled else "`path label`"
            raise UserError(f"{name} line {number} is {line!r}, not {expected}: is it a list file?")
        if path in lines:
            raise UserError(f"{name} line {number} names {path} again, as line {lines[path]} does: remove one of them")
        lines[path] = number
        labels.append(-1 if unlabeled else _label(fields[1], name, number))
    return list(lines), np.array(labels, np.int32)


def class_names(text: bytes, name: str) -> list[str]:
    """The first field of each line, slashes stripped; UserError with the line for a name that is empty or repeated."""
    lines: dict[str, int] = {}
    for number, line, fields in _lines(text, name):
        word = fields[0].strip("/")
        if not word or word in lines:
            fault = f"names class {word} again, as line {lines[word]} does" if word else f"is {line!r}, not a class"
            raise UserError(f"{name} line {number} {fault}: remove it")
        lines[word] = number
    return list(lines)


def check_known(kind: str, name: str, names: Iterable[str]) -> None:
    """UserError unless `name` is one of `names` or an existing file."""
    if name in (names := list(names)) or Path(name).is_file():
        return
    try:
        choose(kind, name, names)
    except UserError as error:
        raise UserError(f"{error}; or name a file, {name} is none") from error


def read(path: Path) -> tuple[bytes, str]:
    """(text, its sha256) of a list, plain or gzipped."""
    try:
        text = path.read_bytes()
        text = gzip.decompress(text) if path.suffix == ".gz" else text
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged or cannot be read ({error}): fetch it again") from error
    return text, hashlib.sha256(text).hexdigest()


def shown(names: list[str]) -> str:
    """The first names, for a message."""
    return f"{', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"


def _lines(text: bytes, name: str) -> Iterator[tuple[int, str, list[str]]]:
    """(number, line, fields) of the lines that are not blank."""
    try:
        lines = text.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        number = text.count(b"\n", 0, error.start) + 1
        raise UserError(f"{name} line {number} is not UTF-8 text: is it a list file?") from error
    if not any(map(str.strip, lines)):  # bytes.strip() leaves UTF-8's byte-order mark and other kinds of space
        raise UserError(f"{name} is empty: a list has one line per image or class")
    for number, line in enumerate(lines, start=1):
        if fields := line.split():
            yield number, line.rstrip("\r"), fields


def _label(word: str, name: str, number: int) -> int:
    if word[0] == "-" or len(word) > 18 or int(word) > LARGEST_LABEL:  # int() refuses thousands of digits
        raise UserError(f"{name} line {number} has label {word[:20]}: labels are 0 to {LARGEST_LABEL:,}")
    return int(word)
