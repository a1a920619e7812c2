"""The checksums of a zip file: torch.save and np.savez write them, and torch reads without comparing them."""

import os
import zipfile
import zlib
from io import BufferedReader
from pathlib import Path

from .names import open_file

PIECE = 1 << 20  # bytes that are read at once
METHODS = (
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
)  # others unpack to any size in one piece, and no writer here has one
FOLDER = 0x10  # the attribute by which torch takes a member for a folder, which has no bytes
MANY = 0xFFFF  # members, and more: the end of a file says no higher number
END = 22  # bytes of the end of a file, before its comment


def damaged_member(path: Path) -> str:
    """The first member of a zip file that is not as it was written, or what is wrong with its list of members; "" when
    it is whole. OSError for a file that cannot be opened."""
    name = "its list of members"
    with open_file(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                if _count(file, len(archive.comment)) != min(len(members), MANY):
                    return name  # a member that claims to be longer hides the next ones
                for member in members:
                    name = member.filename
                    if member.compress_type not in METHODS or member.external_attr & FOLDER:
                        return name
                    with archive.open(member) as content:
                        while content.read(PIECE):  # compared with the CRC-32 at the end
                            pass
        except (
            zipfile.BadZipFile,
            zlib.error,
            OSError,
            EOFError,
            ValueError,
            RuntimeError,
        ):  # RuntimeError: no password
            return name
    return ""


def _count(file: BufferedReader, comment: int) -> int:
    """The number of members that the end of a zip file with a comment of so many bytes says."""
    file.seek(-END - comment, os.SEEK_END)
    return int.from_bytes(file.read(END)[10:12], "little")
