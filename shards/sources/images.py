"""Which files are images: by their suffix, and by their first bytes where the suffix says nothing."""

import os
import re
from collections.abc import Container

from .storage import Storage

SUFFIXES = {f".{s}" for s in ("jpeg", "jpg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "avif")}
SUFFIXES |= {".ppm", ".pgm", ".pbm", ".pnm"}
NO_IMAGE = re.compile(  # names of files that are not worth a look: text, data, archives, leftovers of programs
    r".*(?:~|\.(?:txt|csv|tsv|json|jsonl|xml|ya?ml|toml|html?|md|rst|pdf|docx?|log|lst|list|index|idx|lineidx|srt|cls"
    r"|mat|npy|npz|h5|hdf5|pkl|pickle|pt|pth|safetensors|bin|s?db|[lm]mdb|parquet|arrow|feather|tfrecord|beton|rec"
    r"|tar|tgz|gz|bz2|xz|zst|zip|7z|rar|py|pyc|ipynb|m|sh|c|cpp|h|js|mp[34]|avi|mov|mkv|webm|wav|flac|md5|sha1|sha256"
    r"|lock|bak|orig|old|tmp|swp|part|partial|crdownload))",
    re.IGNORECASE | re.DOTALL,
)
MAGIC = re.compile(  # how the formats that are read begin
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|BM.{4}\0{4}|II[*+]\0|MM\0[*+]|RIFF.{4}WEBP|.{4}ftypavi[fs]|P[1-6]\s+[#\d]",
    re.DOTALL,
)
HEAD = 16  # bytes
SYSTEM = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information", "lost+found"}


def is_image(name: str) -> bool:
    """Whether the file's name has the suffix of an image format."""
    return _suffix(name) in SUFFIXES


def may_be_image(name: str) -> bool:
    """Whether only the first bytes of a file can tell: its name has no suffix, or one that no known format has."""
    return NO_IMAGE.fullmatch(name) is None


def begins_as_image(files: Storage, path: str) -> bool:
    """Whether the first bytes of a file are those of an image format; OSError when it cannot be read."""
    with files.open(path) as file:
        return MAGIC.match(file.read(HEAD)) is not None


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or one that operating systems leave everywhere."""
    return name.startswith(".") or name.lower() in SYSTEM


def files_in(files: Storage, folder: str, suffixes: Container[str]) -> list[str]:
    """Sorted paths of the files in a folder that have one of the suffixes."""
    names = sorted(e.name for e in files.entries(folder) if not e.is_dir and not e.name.startswith("."))
    return [f"{folder}/{name}".lstrip("/") for name in names if _suffix(name) in suffixes]


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()
