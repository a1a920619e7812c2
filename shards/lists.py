"""List files: an image a line with its label, or a class a line. Every line is checked, whoever wrote it."""

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from .errors import UserError, choose

LARGEST_LABEL = 10_000_000  # beyond it a number is no label: a size or a hash
SPLIT = re.compile("^(train|val)/")
SHOWN = 20  # names in a message


def parse(text: bytes, name: str) -> tuple[list[str], np.ndarray]:
    """Lines `path label`, or paths alone, and then all labels are -1. Further fields are ignored.

    `train/c/f`, `val/c/f`, `/c/f` and `c/f` all mean class/file.
    """
    lines: dict[str, int] = {}  # path -> where it stands
    labels: list[int] = []
    alone = None  # are these paths without labels? the first line says
    for number, line, words in _lines(text, name):
        path = SPLIT.sub("", words[0], count=1).lstrip("/")
        alone = len(words) == 1 if alone is None else alone
        if not path or alone != (len(words) == 1) or not (alone or words[1].removeprefix("-").isdecimal()):
            wanted = "a path without a label, as the lines before" if alone else "`path label`"
            raise UserError(f"{name} line {number} is {line!r}, not {wanted}: is it a list file?")
        if path in lines:
            raise UserError(f"{name} line {number} names {path} again, line {lines[path]} did: take one of them out")
        lines[path] = number
        labels.append(-1 if alone else _label(words[1], name, number))
    return list(lines), np.array(labels, np.int32)


def class_names(text: bytes, name: str) -> list[str]:
    """The first word of each line, slashes stripped."""
    lines: dict[str, int] = {}
    for number, line, words in _lines(text, name):
        word = words[0].strip("/")
        if not word or word in lines:
            said = f"names class {word} again, line {lines[word]} did" if word else f"is {line!r}, not a class"
            raise UserError(f"{name} line {number} {said}: take it out")
        lines[word] = number
    return list(lines)


def known(kind: str, name: str, names: Iterable[str]) -> None:
    """UserError unless `name` is one of `names` or an existing file."""
    if name in (names := list(names)) or Path(name).is_file():
        return
    try:
        choose(kind, name, names)
    except UserError as error:
        raise UserError(f"{error}; or name a file, {name} is none") from error


def read(path: Path) -> tuple[bytes, str]:
    """The text of a list, plain or packed, and its sha256."""
    try:
        text = path.read_bytes()
        text = gzip.decompress(text) if path.suffix == ".gz" else text
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged or cannot be read ({error}): fetch it again") from error
    return text, hashlib.sha256(text).hexdigest()


def shown(names: list[str]) -> str:
    """The first names of many."""
    return f"{', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"


def _lines(text: bytes, name: str) -> Iterator[tuple[int, str, list[str]]]:
    """(number, line, words) of the lines that are not blank."""
    try:
        lines = text.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        number = text.count(b"\n", 0, error.start) + 1
        raise UserError(f"{name} line {number} is not UTF-8 text: is it a list file?") from error
    if not any(map(str.strip, lines)):  # bytes.strip() knows neither the mark of UTF-8 nor all kinds of space
        raise UserError(f"{name} is empty: a list has a line an image or a class")
    for number, line in enumerate(lines, start=1):
        if words := line.split():
            yield number, line.rstrip("\r"), words


def _label(word: str, name: str, number: int) -> int:
    if word[0] == "-" or len(word) > 18 or int(word) > LARGEST_LABEL:  # int() itself refuses thousands of digits
        raise UserError(f"{name} line {number} has label {word[:20]}: labels are 0 to {LARGEST_LABEL:,}")
    return int(word)
