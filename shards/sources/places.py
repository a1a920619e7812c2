"""Where the images of a list lie: in its own folder, in a root, in a folder of these, or where absolute paths say."""

import os
from pathlib import Path

import numpy as np

from ..errors import UserError
from .local import Local
from .split import NAMES
from .storage import Storage

PROBES = 5  # images of the list that are looked up in a folder


def folders(split: str) -> tuple[str, ...]:
    """Where the images of a list may lie in its root."""
    return ("", *NAMES[split], "train", "val", "images")


def folder_of(root: Storage, paths: list[str], folders: tuple[str, ...]) -> Storage | None:
    """The first of some folders in `root` that has images of the list."""
    probes = [paths[i] for i in np.linspace(0, len(paths) - 1, PROBES).astype(int)]
    for folder in folders:
        if any(root.exists(f"{folder}/{path}".lstrip("/")) for path in probes):
            return root.inside(folder)
    return None


def absolute(paths: list[str], root: Local | None) -> tuple[Storage | None, list[str]]:
    """The folder that all absolute paths lie in, `root` if given, and the paths in it as class/file; None when no such
    files exist, or some are outside of `root`."""
    if folder_of(top := Local(Path("/")), paths, ("",)) is None:
        return None, paths
    common = os.path.commonpath([path.rpartition("/")[0].rpartition("/")[0] for path in paths])
    inner = str(root.root.absolute()).lstrip("/") if root else common
    if any(not path.startswith(f"{inner}/") for path in paths):
        return None, paths
    return top.inside(inner), [path.removeprefix(f"{inner}/") for path in paths]


def not_found(root: Storage, path: str, where: str) -> UserError:
    return UserError(f"{root.show()} has no {path}, which {where} names: say where its images are with --root")
