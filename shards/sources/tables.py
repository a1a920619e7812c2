"""Lists that are tables: with a header, with names of classes in place of numbers, or lines of JSON."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..errors import UserError, choose
from ..lists import plain
from ..unpack import parsed_json
from .images import is_image
from .labels import ALIKE, Label, label_name, label_of
from .wanted import NONE, Wanted

FILES = (  # names of a column that holds paths; the first that is there
    *("file_name", "filename", "file", "filepath", "file_path", "path", "image_path", "img_path"),
    *("image_name", "image_id", "image", "img"),
)
NUMBER = re.compile(r"\s*-?\d+\s*")
Rows = Iterator[tuple[int, dict[str, Any]]]  # number of the line, values by column


class Table(NamedTuple):
    """Images with labels, and the columns that are left out."""

    paths: list[str]
    labels: list[Label]
    others: list[str]


def table_of(text: bytes, where: str, wanted: Wanted) -> Table | None:
    """The table in a list file, None for a text that is none. Without a header its columns are path and class name.

    UserError with the line for one without a path, with one that was there before, or with a label that is none."""
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None  # the reader of plain lists names the line
    rows = _json_lines(decoded, where) if decoded.lstrip()[:1] == "{" else _separated(decoded, where)
    if (first := next(rows, None)) is None:
        return None
    columns = [*first[1]]
    file, label = _columns(columns, where, wanted)
    lines: dict[str, int] = {}  # path -> number of its line
    labels: list[Label] = []
    for number, row in (first, *rows):
        path = plain(str(row.get(file) or "").strip())
        if not path or path in lines:
            fault = f"names {path} again, as line {lines[path]} does" if path else f"has no path in column {file}"
            raise UserError(f"{where} line {number} {fault}: remove it")
        lines[path] = number
        value = row.get(label) if label else None
        try:
            labels.append(label_of(value.strip() if isinstance(value, str) else value))
        except ValueError as error:
            raise UserError(f"{where} line {number}: {error}: is {label} the column of labels?") from error
    return Table([*lines], labels, [name for name in columns if name not in (file, label)])


def _columns(names: Sequence[str], where: str, wanted: Wanted) -> tuple[str, str | None]:
    """The columns of paths and of labels, None for labels that there are none of; UserError when it is not clear."""
    by_name = {name.strip().lower(): name for name in names}
    file = next((by_name[name] for name in FILES if name in by_name), None)
    if file is None:
        raise UserError(f"{where} has no column of paths ({', '.join(names)}): call it {FILES[0]}")
    if wanted.label:
        return file, None if wanted.label == NONE else choose("column of labels", wanted.label, names)
    label = label_name(others := [name for name in names if name != file])
    if label is None and (found := [name for name in others if ALIKE.search(name)]):
        raise UserError(
            f"{where} has columns that look like labels ({', '.join(found)}): choose one with --label-column, or leave "
            "labels out with --label-column none"
        )
    return file, label


def _json_lines(text: str, where: str) -> Rows:
    """The objects of a file with one in each line."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = parsed_json(line)
            except ValueError as error:
                raise UserError(f"{where} line {number} is damaged ({error}): fetch it again") from error
            if not isinstance(row, dict):
                raise UserError(f"{where} line {number} is no object of JSON: is it a list of images?")
            yield number, row


def _separated(text: str, where: str) -> Rows:
    """The rows of a table with tabs, commas or semicolons, or of paths and names with a space between; none of a text
    that is no such table."""
    head = next(filter(None, map(str.strip, text.splitlines())), "")
    separator = next((mark for mark in "\t,;" if mark in head), " ")
    fields = next(csv.reader([head], delimiter=separator), [])
    if len(fields) < 2 or (separator == " " and len(fields) > 2):
        return
    named = is_image(fields[0]) and not NUMBER.fullmatch(fields[1])
    header = not any(map(is_image, fields)) and any(field.strip().lower() in FILES for field in fields)
    if not named and (not header or separator == " "):
        return
    table = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        names = next(row for row in table if any(map(str.strip, row))) if header else ("file", "label")
        for row in table:
            if any(map(str.strip, row)):
                yield table.line_num, dict(zip(names, row, strict=False))
    except csv.Error as error:
        raise UserError(f"{where} line {table.line_num} is damaged ({error}): fetch it again") from error
