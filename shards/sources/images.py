"""Images among the files of a folder: by their suffix, hidden ones left out."""

import os
from collections.abc import Container

from .storage import Storage

SUFFIXES = {".jpeg", ".jpg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def is_image(name: str) -> bool:
    """Whether the file's name has the suffix of an image format."""
    return _suffix(name) in SUFFIXES


def files_in(files: Storage, folder: str = "", suffixes: Container[str] = SUFFIXES) -> list[str]:
    """Sorted paths of the files in a folder that have one of the suffixes, by default those of images."""
    names = sorted(e.name for e in files.entries(folder) if not e.is_dir and not e.name.startswith("."))
    return [f"{folder}/{name}".lstrip("/") for name in names if _suffix(name) in suffixes]


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()
