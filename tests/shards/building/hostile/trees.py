"""Trees with odd names, links, pipes, sparse files and files without read permission."""

import os
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from .source import BAD, GOOD, Laid, Lay, tree

STEMS = [
    "a b",
    "é ü",
    "日本",
    "new\nline",
    "tab\tin",
    "x" * 245,
    "ü" * 120,
    "a.b.c",
    "..x",
    "%20",
    "\udcff",
    "\\",
    "'\"",
    "{0..3}",
    "-rf",
    "$HOME",
    "\x7f\x1b[31m",
]
LINKS = [  # name, target, images
    ("no.JPEG", "nowhere", 7),
    ("self.JPEG", "self.JPEG", 7),
    ("zero.JPEG", "/dev/zero", 7),
    ("up", "..", 6),
    ("folder.JPEG", "../cat", 9),
    ("long.JPEG", "y" * 300, 7),
    ("tty.JPEG", "/dev/tty", 7),
]


def renamed(name: str, root: Path, _: random.Random) -> Laid:
    files = {**GOOD, name: GOOD[BAD]}
    del files[BAD]
    hidden = name.partition("/")[2].startswith(".")
    named = "udcff" if "\udcff" in name else name
    return Laid(tree(root, files), (named,), count=5 if hidden else 6)


def linked(name: str, target: str, count: int, root: Path, _: random.Random) -> Laid:
    path = tree(root) / "train" / name
    path.symlink_to(target)
    return Laid(root / "pets", (name,), count=count, known=count == 7)


def added(files: dict[str, bytes], named: tuple[str, ...], root: Path, _: random.Random) -> Laid:
    return Laid(tree(root, {**GOOD, **files}), named)


def flat(root: Path, _: random.Random) -> Laid:
    """Images alone, without class folders."""
    files = {name.rpartition("/")[2]: data for name, data in GOOD.items()}
    return Laid(tree(root, {**files, "dog_1.JPEG": b""}), ("dog_1.JPEG",), known=True)


def fifo(root: Path, _: random.Random) -> Laid:
    os.mkfifo(tree(root) / "train" / "dog" / "pipe.JPEG")
    return Laid(root / "pets", ("pipe.JPEG",), count=7, known=True)


def sparse(root: Path, _: random.Random) -> Laid:
    where = tree(root)
    os.truncate(where / "train" / BAD, 1 << 42)
    return Laid(where, (BAD,), known=True)


def unreadable(root: Path, _: random.Random) -> Laid:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tree(root) / "train" / BAD).chmod(0)
    return Laid(root / "pets", (BAD,), known=True)


def trees() -> Iterator[tuple[str, Lay]]:
    for n, stem in enumerate(STEMS):
        yield f"name{n}", partial(renamed, f"dog/{stem}.JPEG")
        if len(stem) < 60:
            yield f"class{n}", partial(renamed, f"{stem}/{stem}.JPEG")
    yield "hidden", partial(added, {"dog/.x.JPEG": b"", ".hid/x.JPEG": b"", "dog/x.txt": b""}, ())
    yield "twins", partial(added, {"dog/dog_1.png": b""}, ("dog_1.png",))
    yield "flat", flat
    yield "huge-sparse", sparse
    for name, target, count in LINKS:
        yield f"link-{name}", partial(linked, f"dog/{name}", target, count)
    yield "link-class", partial(linked, "eel", "eel", 6)
    yield "pipe", fifo
    yield "unreadable", unreadable
