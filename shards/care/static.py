"""Static sets: files that their manifest does not know, and the files of sets that have none."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from ..encoding.headers import JPEGS, cause_of
from ..engine import cores
from ..formats.static import class_files
from ..manifest import Manifest, file_of
from ..names import open_file
from ..progress import Bar
from .damage import Damage


def added(manifest: Manifest) -> Iterator[Damage]:
    """JPEGs in class folders that were not made with the set: other readers of class folders take them for its own."""
    root = manifest.root
    known = {file_of(root, key, static=True) for key in manifest.strings("key")}
    for files in class_files(root).values():
        for path in files:
            if str(path) not in known:
                yield Damage(str(path.relative_to(root)), "is not in the manifest", remedy="remove it")


def unreadable(root: Path, workers: int = 0) -> list[Damage]:
    """The files of a static set without digests that do not decode."""
    files = [path for own in class_files(root).values() for path in own]
    with ThreadPoolExecutor(workers or cores()) as pool, Bar(len(files), "img", "verifying") as bar:
        found: list[Damage] = []
        for path, fault in zip(files, pool.map(_fault, files), strict=True):
            if fault:
                found.append(Damage(str(path.relative_to(root)), fault, remedy="make the set again"))
            bar.update()
    return found


def _fault(path: Path) -> str:
    """Why a file is no JPEG of any kind, "" if it is one."""
    try:
        with open_file(path) as data, Image.open(data, formats=JPEGS) as image:
            image.load()
    except Exception as error:  # decoders raise anything on hostile bytes
        return cause_of(error)
    return ""
