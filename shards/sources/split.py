"""The train or val part of a folder: a folder in it, or the archives that belong to the split."""

import re

from ..errors import UserError
from .images import files_in
from .storage import Storage, opening

LAYOUT = "{root}/train/<class>/<image>.JPEG and {root}/val/<class>/<image>.JPEG"
NAMES = {"train": ("train", "training"), "val": ("val", "validation", "valid", "test")}  # the first that is found


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


def archives(files: Storage, suffix: str, split: str) -> list[str]:
    """Paths of a split's files with a suffix, [] if there are none.

    They are the files in a folder train/ (val/, ...), else those with such a word in their names, in the folder itself
    or in data/. Files that name no split at all are the train split.
    """
    folders = {e.name for e in files.entries() if e.is_dir}
    paths = [path for folder in ("", *folders & {"data"}) for path in files_in(files, folder, {suffix})]
    for name in NAMES[split]:
        inside = files_in(files, name, {suffix}) if name in folders else []
        if found := inside or _naming(paths, name):
            return found
    other = _naming(paths, "|".join(sum(NAMES.values(), ())))
    return paths if split == "train" and not other else []


def _naming(paths: list[str], words: str) -> list[str]:
    """The paths whose file names contain one of the words, given as `word|word`."""
    word = re.compile(rf"(?:^|[-_.])(?:{words})(?:[-_.])", re.IGNORECASE)
    return [path for path in paths if word.search(path.rpartition("/")[2])]
