"""Images that no class folders label, in one folder or in several."""

import logging
import os
import re

import numpy as np

from ..errors import UserError
from .arrange import arranged
from .classes import matched
from .devkit import KAGGLE, truth_near
from .passed import PassedOver
from .readers import Files
from .source import Source
from .split import parts_of, split_folder, train_classes
from .storage import Storage, opening, storage
from .tree import images_below

LOG = logging.getLogger(__name__)

LABELS = "lists or tables beside the folder of images (--source takes the path of one that has labels)"
LISTS = (".txt", ".csv", ".tsv", ".json", ".jsonl")
IMAGENET_VAL = re.compile(r"ILSVRC2012_val_\d{8}\.\w+")


def flat(where: str | os.PathLike[str], split: str) -> Source:
    """The images in `where/split`, or in `where` itself, and below: label -1, no classes; a path is the file's name.

    ImageNet's validation images get their classes from Kaggle's table or the kit; a path is then wnid/file."""
    where = os.fspath(where)
    files, passed = storage(where), PassedOver()
    folder = split_folder(files, split)
    with opening(folder.show()):
        names = sorted(images_below(folder, "", passed))
        for entry in sorted(files.entries()) if folder != files else ():
            if entry.name.lower().endswith(LISTS):
                passed.add(LABELS, entry.name)
        wnid = _wnids(files, folder, names) if split == "val" else {}
        known = train_classes(files, parts_of(files)) if split == "val" else ()
    if known and not wnid:
        LOG.warning(f"warning: train has class folders, {folder.show()} has none: its images have no labels")
    own = sorted(set(wnid.values()))
    classes = matched(own, known, folder.show()) if own else ()
    number = {name: n for n, name in enumerate(classes)}
    label = np.array([number[wnid[name]] if wnid else -1 for name in names], np.int32)
    paths = [f"{wnid[name]}/{name}" if wnid else name for name in names]
    return arranged(where, split, Files(folder), classes, label, paths, np.array(names, object), passed=passed)


def _wnids(files: Storage, folder: Storage, names: list[str]) -> dict[str, str]:
    """{name: wnid} of ImageNet's validation images, {} for other images, or with a warning when there is no table."""
    if not names or not all(map(IMAGENET_VAL.fullmatch, names)):
        return {}
    found = truth_near(folder, names) or truth_near(files, names)
    if found is None:
        LOG.warning(
            f"warning: {folder.show()} has no labels for ImageNet's validation images: put {KAGGLE} or the development "
            f"kit into {files.show()}"
        )
        return {}
    stems = {name: os.path.splitext(name)[0] for name in names}
    if absent := [name for name, stem in stems.items() if stem not in found]:
        raise UserError(f"the class of {absent[0]} is not in the tables near {folder.show()}: are they of another set?")
    return {name: found[stem] for name, stem in stems.items()}
