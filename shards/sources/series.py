"""Whether numbered files are all there: `train-00000-of-00002.parquet`, `images-000012.tar`."""

import logging
import re

from ..errors import UserError
from ..lists import shown
from .storage import Storage

LOG = logging.getLogger(__name__)

COUNTED = re.compile(r"(?P<head>.*?)(?P<number>\d+)(?P<of>[-_]of[-_])(?P<total>\d{1,6})(?P<tail>.*)", re.IGNORECASE)
NUMBERED = re.compile(r"(?P<head>.*?)(?P<number>\d+)(?P<tail>\.\w+)")


def whole(files: Storage, found: list[str]) -> list[str]:
    """The files `found`; UserError when their names, `train-00000-of-00002`, count more of them."""
    if lacking := absent(found):
        raise UserError(
            f"{len(found)} of {len(found) + len(lacking)} files of the split are in {files.show()}, {lacking[0]} is "
            "missing: fetch it, or name the file or files to take"
        )
    if gaps := [name for name in skipped(found) if not files.exists(name)]:
        LOG.warning(f"warning: {files.show()} lacks {shown(gaps)}, which the numbers of its files skip")
    return found


def absent(paths: list[str]) -> list[str]:
    """The names of files that others of a count `00000-of-00002` lack; numbers begin at 0 or 1."""
    counts: dict[tuple[str, str], dict[int, str]] = {}
    for path in paths:
        if match := COUNTED.fullmatch(path):
            counts.setdefault((match["head"], match["total"]), {})[int(match["number"])] = path
    lacking = []
    for (head, total), numbers in counts.items():
        first = 1 if 0 not in numbers and int(total) in numbers else 0
        match = COUNTED.fullmatch(next(iter(numbers.values())))
        assert match
        digits = len(match["number"])
        lacking += [
            f"{head}{str(n).zfill(digits)}{match['of']}{total}{match['tail']}"
            for n in range(first, first + int(total))
            if n not in numbers
        ]
    return lacking


def skipped(paths: list[str]) -> list[str]:
    """The names that the numbers of files skip: `a-1.tar` between `a-0.tar` and `a-2.tar`. Numbers that skip more names
    than there are files, as wnids do, do not count anything."""
    series: dict[tuple[str, str, int], set[int]] = {}
    for path in paths:
        if match := NUMBERED.fullmatch(path):
            series.setdefault((match["head"], match["tail"], len(match["number"])), set()).add(int(match["number"]))
    names = []
    for (head, tail, digits), numbers in series.items():
        if max(numbers) - min(numbers) < 2 * len(numbers):
            names += [f"{head}{n:0{digits}d}{tail}" for n in range(min(numbers), max(numbers)) if n not in numbers]
    return names
