"""The files of a static set: those of its manifest, else all in its class folders."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...shards.errors import UserError, choose, command
from ...shards.formats.static import class_files, has_manifest
from ...shards.manifest import Manifest, file_of

MODES = {"normal": (1, 2), "g-mask": (3, 4), "rand-g-mask": (5, 6), "avg-mask": (7, 8), "rand-avg-mask": (9, 10)}


class Item(NamedTuple):
    """An image's files: the original and two views."""

    label: int
    files: tuple[Path, Path, Path]


def listed(root: Path, mode: str) -> tuple[tuple[str, ...], list[Item]]:
    """Class names, sorted, and each image with its files for `mode`, by path. UserError for a missing file."""
    numbers = (0, *MODES[choose("mode", mode, MODES)])
    if not root.is_dir():
        make = command("python tools/make_static.py", "--out", root)
        raise UserError(f"{root} is no folder: `{make}` makes a static set")
    files = _files(root)
    items = [
        item for label, name in enumerate(files) for item in _items(root / name, files[name], label, numbers, mode)
    ]
    if not items:
        raise UserError(
            f"{root} has no class folders with files like NAME-0.jpeg: it is not a static set, name another folder"
        )
    return tuple(files), items


def digests(root: Path) -> dict[Path, bytes]:
    """The sha256 of each file. UserError for a set without digests."""
    if not has_manifest(root):
        raise UserError(f"{root} has no digests to check: make the set again, or leave the check out")
    manifest = Manifest.open(root)
    files = (Path(file_of(root, key, static=True)) for key in manifest.keys)
    return dict(zip(files, manifest.strings("sha256"), strict=True))


def _files(root: Path) -> dict[str, dict[str, Path]]:
    """The files of each class, both sorted by name, by <image>-<number>."""
    if not has_manifest(root):
        return {name: {path.stem: path for path in files} for name, files in class_files(root).items()}
    found: dict[str, dict[str, Path]] = {}
    for key in sorted(Manifest.open(root).keys):
        name, _, stem = key.rpartition("/")
        found.setdefault(name, {})[stem] = Path(file_of(root, key, static=True))
    return dict(sorted(found.items()))


def _items(folder: Path, files: dict[str, Path], label: int, numbers: tuple[int, ...], mode: str) -> Iterator[Item]:
    for image in sorted({stem.rpartition("-")[0] for stem in files} - {""}):
        for number in numbers:
            if f"{image}-{number}" not in files:
                remedy = "--views 2" if mode == "normal" else "--mode easy, hard or super-hard"
                raise UserError(
                    f"{folder / image}-{number}.jpeg is missing, which mode {mode} needs: make the set again with "
                    f"`python tools/make_static.py {remedy} ...`"
                )
        first, second, third = (files[f"{image}-{number}"] for number in numbers)
        yield Item(label, (first, second, third))
