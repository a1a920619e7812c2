"""List files: one line per image with its label, or one per class. Every line is checked, in published lists too."""

import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from .errors import UserError, choose
from .unpack import gunzip

LARGEST_LABEL = 10_000_000  # a larger number is no label: a size or a hash
SPLIT = re.compile("^(train|val)/")
BREAK = re.compile(r"\r\n|\n|\r")
LABELED = re.compile(  # a path, quoted or up to a suffix, then a label or nothing; spaces, commas or semicolons between
    r"""\s*+(?:"(?P<quoted>[^"]+)"|(?P<path>\S.*?\.[A-Za-z]\w{1,4}|[^\s,;]+))"""
    r"(?:(?P<mark>\s++[,;]?+|[,;])\s*+(?P<label>-?\d+)(?P<rest>[\s,;].*)?|\s*+)",
    re.DOTALL,
)
HEADER = re.compile(  # of a table
    r"[a-z_ ]{1,40}[\s,;](?:labels?|label_id|class|class_id|cls|target|category|category_id)(?:[\s,;][a-z_]+)*\s*+",
    re.IGNORECASE,
)
SHOWN = 20  # names in a message


def parse(text: bytes, name: str) -> tuple[list[str], np.ndarray]:
    """(paths, label [N] int32) from lines `path label`, or from paths alone with label -1. Further fields are ignored.

    Spaces, commas or semicolons separate fields; a path with spaces ends in a suffix or stands in quotes. `train/c/f`,
    `val/c/f`, `/c/f`, `./c/f` and `c/f` all mean class/file. A header, and lines after #, are no images. UserError
    with the line for anything else, or for a path that was there before.
    """
    lines: dict[str, int] = {}  # path -> number of its line
    labels: list[int] = []
    unlabeled = None  # whether the lines are paths alone, by the first line
    for number, line, fields in _lines(text, name):
        if unlabeled is None and HEADER.fullmatch(line):
            continue
        found, word = _path_and_label(line, fields)
        path = plain(found)
        unlabeled = not word if unlabeled is None and path else unlabeled
        if not path or unlabeled is not (not word):
            expected = "a path without a label, as the lines before" if unlabeled else "`path label`"
            raise UserError(f"{name} line {number} is {line!r}, not {expected}: is it a list file?")
        if path in lines:
            raise UserError(f"{name} line {number} names {path} again, as line {lines[path]} does: remove one of them")
        lines[path] = number
        labels.append(_label(word, name, number) if word else -1)
    if not lines:
        raise UserError(f"{name} names no images: a list has one line `path label` per image")
    return list(lines), np.array(labels, np.int32)


def _path_and_label(line: str, fields: list[str]) -> tuple[str, str]:
    """The path and the label of a line, "" for none; two times "" for a line that is neither."""
    if len(fields) == 2 and fields[1].isdecimal() and fields[0][-1] not in '",;':  # nearly all lines
        return fields[0], fields[1]
    match = LABELED.fullmatch(line)
    if match is None or (match["label"] and _begins_a_name(match["mark"], (match["rest"] or "").strip(" \r"))):
        return "", ""
    return match["quoted"] or match["path"], match["label"] or ""


def _begins_a_name(mark: str, rest: str) -> bool:
    """Whether a number is the first word of a class name, `a.jpg,101 dalmatians`: fields end where such a mark comes
    again."""
    return bool(mark.strip(" ")) and rest[:1] not in ("", ",", ";", "\t")


def plain(path: str) -> str:
    """The path as class/file; "" for the path of a folder."""
    if "./" in path or "//" in path:
        slash = "/" if path[0] == "/" else ""
        path = slash + "/".join(part for part in path.split("/") if part not in ("", "."))
    return SPLIT.sub("", path, count=1).lstrip("/")


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
        text = gunzip(text) if path.suffix == ".gz" else text
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{path} is damaged or cannot be read ({error}): fetch it again") from error
    return text, hashlib.sha256(text).hexdigest()


def shown(names: list[str]) -> str:
    """The first names, for a message."""
    return f"{', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"


def _lines(text: bytes, name: str) -> Iterator[tuple[int, str, list[str]]]:
    """(number, line, fields) of the lines that are neither blank nor comments."""
    try:
        lines = BREAK.split(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        number = len(BREAK.split(text[: error.start].decode(errors="replace")))
        raise UserError(f"{name} line {number} is not UTF-8 text: is it a list file?") from error
    if not any(map(str.strip, lines)):  # bytes.strip() leaves UTF-8's byte-order mark and other kinds of space
        raise UserError(f"{name} is empty: a list has one line per image or class")
    for number, line in enumerate(lines, start=1):
        if (fields := line.split()) and fields[0][0] != "#":
            yield number, line, fields


def _label(word: str, name: str, number: int) -> int:
    if word[0] == "-" or len(word) > 18 or int(word) > LARGEST_LABEL:  # int() refuses thousands of digits
        raise UserError(f"{name} line {number} has label {word[:20]}: labels are 0 to {LARGEST_LABEL:,}")
    return int(word)
