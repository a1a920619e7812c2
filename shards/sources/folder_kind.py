"""The kind of source that a folder holds: class folders first, then archives and tables, then images alone."""

import os
from collections.abc import Collection

from ..errors import UserError
from ..files import PAGE
from ..table import TABLE
from .images import is_hidden, is_image
from .packed import COMPRESSED, KINDS, TABLES, TARS
from .source import Source
from .split import NAMES, WORDS, Parts, config_folders, image_folders, parts_of
from .storage import Storage
from .tree import folders_in, holds_images

BESIDE = "beside the archives or tables (--source-type {kind} takes them)"


def folder_kind(files: Storage, split: str) -> str | None:
    """imagefolder, flat, ilsvrc, parquet, tsv or webdataset; None for none of them."""
    dirs, own = folders_in(files), _files_in(files)
    inner = set().union(*(_files_in(files, name) for name in dirs if name.lower() in ("data", *WORDS)))
    if {PAGE, TABLE} <= own | inner:  # a built set, or a static one in class folders
        return "webdataset" if any(name.endswith((".tar", ".beton")) for name in own | inner) else "imagefolder"
    if any({f"{d}.parquet", f"{d}_stats.json"} <= own for d in dirs):  # img2dataset's numbered folders, no classes
        return "flat"
    parts, packed = parts_of(files), _packed(own | inner)
    _check_clear(files, parts, split)
    root = parts.class_root(split)
    if root or (root == "" and not (packed and _illustrates(files, parts, inner))):
        return "imagefolder"
    if packed:
        return packed
    if split in parts.splits or (split == "train" and not parts.splits and holds_images(files, "")):
        return "flat"
    configs = (kind for suffix, kind in KINDS.items() if suffix != ".tsv" and config_folders(files, (suffix,)))
    return next(configs, "imagefolder" if dirs else None)


def _illustrates(files: Storage, parts: Parts, inner: Collection[str]) -> bool:
    """Whether images beside archives are no classes: one folder of images, or archives that fill data/ or train/."""
    return _packed(inner) is not None or (len(parts.others) == 1 and not any(image_folders(files, parts.others[0])))


def pass_over_images(source: Source, files: Storage) -> None:
    """Count the images that lie beside the archives or tables of a source, and the folders of images."""
    entries = sorted(files.entries())
    if any(e.name == PAGE for e in entries):  # a built set: the same images in another format
        return
    others = {word for split, words in NAMES.items() if split != source.split for word in words}
    for name, is_dir, _ in entries:
        if is_hidden(name) or name.lower() in others:
            continue
        if is_dir and holds_images(files, name):
            source.passed.add("folders of images " + BESIDE.format(kind="imagefolder"), name)
        elif not is_dir and is_image(name):
            source.passed.add("images " + BESIDE.format(kind="flat"), name)


def _files_in(files: Storage, folder: str = "") -> set[str]:
    """Names of the visible files in a folder."""
    return {e.name for e in files.entries(folder) if not e.is_dir and not is_hidden(e.name)}


def _packed(names: Collection[str]) -> str | None:
    """The kind of source that files of these names are; None without archives and tables."""
    stems = {
        suffix: {os.path.splitext(n)[0] for n in names if n.lower().endswith(suffix)} for suffix in (".parquet", ".tar")
    }
    if not set(TARS.values()).isdisjoint(names):
        return "ilsvrc"
    if stems[".parquet"] and stems[".parquet"].isdisjoint(stems[".tar"]):  # img2dataset leaves a table beside each tar
        return "parquet"
    if not set().union(*TABLES.values()).isdisjoint(names):
        return "tsv"
    return "webdataset" if stems[".tar"] or any(n.lower().endswith(COMPRESSED) for n in names) else None


def _check_clear(files: Storage, parts: Parts, split: str) -> None:
    """UserError when folders called train or val may be classes as well, because they hold images as others do."""
    if parts.others and (len(parts.splits) == 2 or (split == "val" and "val" in parts.splits)):
        names = "/, ".join(parts.splits.values())
        raise UserError(
            f"{files.show()} has images in {names}/ and {parts.others[0]}/, all without class folders, so they may be "
            "splits or classes: --source-type flat takes the folder of the split, imagefolder takes all as classes"
        )
