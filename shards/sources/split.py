"""The train or val part of a folder: a folder in it, or the archives that belong to the split."""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from ..errors import UserError
from .images import files_in
from .passed import PassedOver
from .series import whole
from .storage import Storage, opening
from .tree import folders_in, holds_images

LOG = logging.getLogger(__name__)

LAYOUT = "{root}/train/<class>/<image>.JPEG and {root}/val/<class>/<image>.JPEG"
NAMES = {"train": ("train", "training"), "val": ("val", "validation", "valid", "test")}  # the first that is found
WORDS = (*NAMES["train"], *NAMES["val"])


@dataclass(frozen=True)
class Parts:
    """The folders of a source that hold images. A split folder holds class folders, a class folder holds images."""

    splits: dict[str, str]  # train, val -> the folder of that name, in any case
    labeled: frozenset[str]  # the splits whose folder has class folders
    others: tuple[str, ...]  # the first two folders of other names, where no split is labeled

    def class_root(self, split: str) -> str | None:
        """The folder of a split's class folders, "" for the whole tree; None when there are none.

        Without class folders in a split folder the tree is the train split itself, a folder called `train` a class."""
        if split in self.labeled:
            return self.splits[split]
        return "" if split == "train" and self.others else None


def parts_of(files: Storage) -> Parts:
    """Look into the folders of a source, no further than needed."""
    names = folders_in(files)
    splits = {}
    for split, words in NAMES.items():
        called = (name for word in words for name in names if name.lower() == word)
        if folder := next((name for name in called if holds_images(files, name)), None):
            splits[split] = folder
    labeled = frozenset(split for split, folder in splits.items() if any(image_folders(files, folder)))
    others = () if labeled else tuple(islice(other_folders(files), 2))
    return Parts(splits, labeled, others)


def image_folders(files: Storage, folder: str) -> Iterator[str]:
    """Sorted names of the folders in a folder that hold images."""
    return (name for name in folders_in(files, folder) if holds_images(files, f"{folder}/{name}".lstrip("/")))


def train_classes(files: Storage, parts: Parts) -> tuple[str, ...]:
    """The classes of the folder train/, which number those of val; () when it has none."""
    return tuple(image_folders(files, parts.splits["train"])) if "train" in parts.labeled else ()


def other_folders(files: Storage) -> Iterator[str]:
    """Sorted names of the folders with images that are called like no split."""
    return (n for n in folders_in(files) if n.lower() not in WORDS and holds_images(files, n))


def split_folder(files: Storage, split: str) -> Storage:
    """The folder `split`; for train the whole folder when no split has a folder. Otherwise UserError."""
    with opening(files.show()):
        try:
            splits = parts_of(files).splits
        except (FileNotFoundError, NotADirectoryError) as error:
            raise no_split(files, split) from error
        if split not in splits and (splits or split != "train"):
            raise no_split(files, split)
    return files.inside(named(files, split, splits.get(split, "")))


def named(files: Storage, split: str, folder: str) -> str:
    """The folder of a split, with a note when it has another name."""
    if folder.lower() not in ("", split):
        LOG.warning(f"note: {files.show(folder)} is taken for the {split} split")
    return folder


def no_split(files: Storage, split: str) -> UserError:
    """The error for a source without a split."""
    fact = "holds no images" if files.exists(split) else "does not exist"
    return UserError(
        f"{files.show(split)} {fact}: a source is laid out as {LAYOUT.format(root=files.show())}; "
        "name it with --source or $IMAGENET"
    )


def archives(files: Storage, suffix: str, split: str, passed: PassedOver) -> list[str]:
    """Paths of a split's files with a suffix, [] if there are none. UserError for an incomplete split.

    They are the files in a folder train/ (val/, ...), else those with such a word in their names, in the folder itself
    or in data/. Files that name no split at all are the train split, and so is a single train.tar among them, which is
    a class of that name. Without any file they are those of the one folder that has some, as of a Hugging Face config.
    """
    folders = {e.name for e in files.entries() if e.is_dir}
    paths = [path for folder in ("", *folders & {"data"}) for path in files_in(files, folder, {suffix})]
    named = _naming(paths, "|".join(WORDS))
    if len(paths) > len(named) == 1 and named[0].rpartition("/")[2].removesuffix(suffix) in NAMES["train"]:
        named = []
    plain = sorted({*paths} - {*named})
    if not paths and (configs := config_folders(files, (suffix,))):
        if len(configs) > 1:
            shown = f"{files.show(configs[0])} or {files.show(configs[1])}"
            raise UserError(f"{files.show()} holds {len(configs)} data sets, each in a folder: name one, {shown}")
        return [f"{configs[0]}/{path}" for path in archives(files.inside(configs[0]), suffix, split, passed)]
    for name in NAMES[split]:
        inside = files_in(files, name, {suffix}) if name in folders else []
        if found := inside or _naming(named, name):
            for path in plain:
                passed.add(f"{suffix} files that name no split", path)
            return whole(files, found)
    return whole(files, paths) if split == "train" and not named else []


def config_folders(files: Storage, suffixes: tuple[str, ...]) -> list[str]:
    """The folders, called like no split, that hold files with one of the suffixes, themselves or in a split's folder;
    [] when a split's folder is there."""
    names, words = folders_in(files), (*WORDS, "data")
    if any(name in words for name in names):
        return []
    inner = {name: ["", *(f for f in folders_in(files, name) if f in words)] for name in names}
    return [n for n in names if any(files_in(files, f"{n}/{f}".rstrip("/"), suffixes) for f in inner[n])]


def _naming(paths: list[str], words: str) -> list[str]:
    """The paths whose file names contain one of the words, given as `word|word`."""
    word = re.compile(rf"(?:^|[-_.])(?:{words})(?:[-_.])", re.IGNORECASE)
    return [path for path in paths if word.search(path.rpartition("/")[2])]
