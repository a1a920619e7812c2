"""The train or val part of a folder: a folder in it, or the archives that belong to the split."""

import re

from ..errors import UserError
from .images import files_in
from .passed import PassedOver
from .storage import Storage, opening

LAYOUT = "{root}/train/<class>/<image>.JPEG and {root}/val/<class>/<image>.JPEG"
NAMES = {"train": ("train", "training"), "val": ("val", "validation", "valid", "test")}  # the first that is found
COUNTED = re.compile(r"(?P<head>.*?)(?P<number>\d+)(?P<of>[-_]of[-_])(?P<total>\d{1,6})(?P<tail>.*)", re.IGNORECASE)


def split_folder(files: Storage, split: str) -> Storage:
    """The folder `split`; for train the whole folder when it has neither train/ nor val/. Otherwise UserError."""
    with opening(files.show()):
        try:
            folders = {e.name for e in files.entries() if e.is_dir}
        except (FileNotFoundError, NotADirectoryError):
            folders = None
    if folders is not None and split in folders:
        return files.inside(split)
    if folders is not None and split == "train" and "val" not in folders:
        return files
    raise UserError(
        f"{files.show(split)} does not exist: a source is laid out as {LAYOUT.format(root=files.show())}; "
        "name it with --source or $IMAGENET"
    )


def archives(files: Storage, suffix: str, split: str, passed: PassedOver) -> list[str]:
    """Paths of a split's files with a suffix, [] if there are none. UserError for an incomplete split.

    They are the files in a folder train/ (val/, ...), else those with such a word in their names, in the folder itself
    or in data/. Files that name no split at all are the train split, and so is a single train.tar among them, which is
    a class of that name.
    """
    folders = {e.name for e in files.entries() if e.is_dir}
    paths = [path for folder in ("", *folders & {"data"}) for path in files_in(files, folder, {suffix})]
    named = _naming(paths, "|".join(sum(NAMES.values(), ())))
    if len(paths) > len(named) == 1 and named[0].rpartition("/")[2].removesuffix(suffix) in NAMES["train"]:
        named = []
    plain = sorted({*paths} - {*named})
    for name in NAMES[split]:
        inside = files_in(files, name, {suffix}) if name in folders else []
        if found := inside or _naming(named, name):
            for path in plain:
                passed.add(f"{suffix} files that name no split", path)
            return whole(files, found)
    return whole(files, paths) if split == "train" and not named else []


def _naming(paths: list[str], words: str) -> list[str]:
    """The paths whose file names contain one of the words, given as `word|word`."""
    word = re.compile(rf"(?:^|[-_.])(?:{words})(?:[-_.])", re.IGNORECASE)
    return [path for path in paths if word.search(path.rpartition("/")[2])]


def whole(files: Storage, found: list[str]) -> list[str]:
    """The files `found`; UserError when their names, `train-00000-of-00002`, count more of them."""
    if lacking := absent(found):
        raise UserError(
            f"{len(found)} of {len(found) + len(lacking)} files of the split are in {files.show()}, {lacking[0]} is "
            "missing: fetch it, or name the file or files to take"
        )
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
