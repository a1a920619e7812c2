"""Static sets: class folders of `<image>-N.jpeg`, `static.json`, and a manifest, which older ones lack."""

import json
from pathlib import Path

from ..files import PAGE
from ..info import JSON, read_info

RECORD = "static.json"  # what decided the pixels, as `encoding.static` of dataset.json; sets of ssl-small have none
SUFFIXES = (".jpeg", ".jpg")


def has_manifest(root: Path) -> bool:
    """Whether a static set has a manifest, and with it digests. UserError if its `dataset.json` is damaged."""
    return (root / PAGE).exists() and read_info(root).static


def record_text(record: JSON) -> str:
    """The content of `static.json`."""
    return json.dumps(record, indent=1) + "\n"


def class_files(root: Path) -> dict[str, list[Path]]:
    """The JPEGs in each class folder, by its name, sorted."""
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {
        folder.name: sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES) for folder in folders
    }
