"""A tree of class folders, as torchvision's ImageFolder reads it."""

import logging
import os

import numpy as np

from ..errors import UserError
from .arrange import arranged
from .classes import matched
from .images import is_hidden, is_image
from .packed import packed_kind
from .passed import PassedOver
from .readers import Files
from .source import Source
from .split import LAYOUT, WORDS, Parts, named, no_split, other_folders, parts_of, train_classes
from .storage import Storage, opening, storage
from .tree import HIDDEN, LOOP, folders_in, images_below, leads_back

LOG = logging.getLogger(__name__)

EMPTY = "folders without an image"
LOOSE = "files outside of class folders"
BESIDE = "folders of images beside those of the split (--source takes their path)"
PACKED = "{suffix} files beside the class folders (--source-type {kind} takes them, or --source their path)"


def imagefolder(where: str | os.PathLike[str], split: str) -> Source:
    """The images `where/split/<class>/**/<image>`; labels number the sorted class folders that hold images.

    A tree that has neither train/ nor val/ is the train split itself. Val has the labels of train's classes."""
    where = os.fspath(where)
    files, passed = storage(where), PassedOver()
    with opening(files.show()):
        parts = parts_of(files)
        root = _root(files, parts, split)
        folder = files.inside(root)
        found = _images(folder, passed)
        if not found:
            raise _no_classes(files, root)
        if root:
            _pass_over_beside(files, passed)
        known = train_classes(files, parts) if split == "val" else ()
    if len(found) == 1 and not known:
        _check_alone(folder, *found.items())
    classes = matched(list(found), known, folder.show())
    label = [np.full(len(found.get(name, ())), n, np.int32) for n, name in enumerate(classes)]
    paths = [path for name in classes for path in found.get(name, ())]
    return arranged(where, split, Files(folder), classes, np.concatenate(label), paths, passed=passed)


def _root(files: Storage, parts: Parts, split: str) -> str:
    """The folder of a split's class folders; UserError without one."""
    root = parts.class_root(split)
    if root is None and split not in parts.splits and (parts.splits or split != "train"):
        raise no_split(files, split)
    if root is None:
        raise _no_classes(files, parts.splits.get(split, ""))
    if root == "" and parts.splits:
        names = " and ".join(parts.splits.values())
        alone = files.show(next(iter(parts.splits.values())))
        LOG.warning(
            f"note: {names} in {files.show()} is taken for a class, because it holds images itself, as other folders "
            f"there do: --source {alone} takes it alone"
        )
    return named(files, split, root)


def _no_classes(files: Storage, root: str) -> UserError:
    return UserError(
        f"{files.show(root)} holds no images in class folders: a source is laid out as "
        f"{LAYOUT.format(root=files.show())}; --source-type flat takes images without classes"
    )


def _images(folder: Storage, passed: PassedOver) -> dict[str, list[str]]:
    """Paths of the images of each class, by the class's sorted names; files and folders of no class are passed over."""
    found: dict[str, list[str]] = {}
    for name, is_dir, is_link in sorted(folder.entries()):
        if is_hidden(name):
            passed.add(HIDDEN, name)
        elif not is_dir:
            passed.add(_reason(name), name)
        elif is_link and leads_back(folder.real(name), (folder.real(""),)):
            passed.add(LOOP, name)
        elif paths := list(images_below(folder, name, passed)):
            found[name] = paths
        else:
            passed.add(EMPTY, name)
    return found


def _check_alone(folder: Storage, only: tuple[str, list[str]]) -> None:
    """A warning that there is one class; UserError when it has no image of its own but several folders of images."""
    name, paths = only
    folders = {path.rpartition("/")[0] for path in paths}
    common = os.path.commonpath(folders)
    if common not in folders:
        head, _, last = common.rpartition("/")
        common = head if last.lower() in WORDS else common
        raise UserError(
            f"{folder.show()} holds images in one folder, {common}, and there in several folders, which look like the "
            f"classes: name it with --source {folder.show(common)}"
        )
    LOG.warning(f"warning: {folder.show()} has one class only, {name}: labels will say nothing")


def _pass_over_beside(files: Storage, passed: PassedOver) -> None:
    """Count what could be taken for a source and lies beside the folders of the splits."""
    for name in other_folders(files):
        passed.add(BESIDE, name)
    for folder in ("", *(name for name in folders_in(files) if name == "data")):  # where archives are looked for too
        for entry in sorted(files.entries(folder)):
            if not entry.is_dir and (packed_kind(entry.name) or (is_image(entry.name) and not folder)):
                passed.add(_reason(entry.name), f"{folder}/{entry.name}".lstrip("/"))


def _reason(name: str) -> str:
    kind = packed_kind(name)
    return PACKED.format(suffix=os.path.splitext(name)[1], kind=kind) if kind else LOOSE
