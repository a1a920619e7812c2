"""Damaged lists of images: as a source, and as the list of a subset."""

import gzip
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from .source import BAD, NAMES, Damage, Laid, Lay, cut, garbled, tree, written

LABELS = (*"a٣²", "-1", "-", "--1", "1.0", "10000001", "9" * 25, "9" * 5000, "0x1", "5000")
LINES = {
    "missing-field": "dog/dog_1.JPEG",
    "twice": f"{NAMES[3]} 1",
    "absent": "dog/no.JPEG 1",
    "up": "../dog/dog_1.JPEG 1",
    "inside": "dog/../cat/x.JPEG 1",
    "zero": "dog/a\0b.JPEG 1",
    "long": f"dog/{'x' * 5000}.JPEG 1",
    "deep": f"{'d/' * 3000}x.JPEG 1",
    "only-slash": "/ 1",
    "space": "dog/a b.JPEG 1",
    "fields": "dog/dog_1.JPEG 1 2 3 4",
    "half": "train/ 1",
    "folder": "dog 1",
    "nbsp": "dog/dog_1.JPEG\u00a01",
    "separator": "dog/dog_1.JPEG\u2028 1",
    "bom": "\ufeffdog/dog_1.JPEG 1",
    "surrogate": "dog/\U0001f408.JPEG 1",
    **{f"label-{n}": f"{BAD} {word}" for n, word in enumerate(LABELS)},
}


def texts() -> Iterator[tuple[str, Damage]]:
    lines = [f"{name} {int(name[0] == 'd')}" for name in NAMES]
    whole = "\n".join(lines).encode()
    for name, line in LINES.items():
        yield name, "\n".join([*lines[:4], line, lines[5]]).encode()
    yield "empty", b""
    yield "blank", b"\n \n"
    yield "nbsp-alone", "\u00a0\n".encode()
    yield "bom-alone", b"\xef\xbb\xbf"
    yield "zeros", bytes(50)
    for n in range(4):
        yield f"noise{n}", lambda rng: rng.randbytes(rng.randrange(1, 2000))
        yield f"cut{n}", partial(cut, whole, first=1)
    for n in range(8):
        yield f"garbled{n}", partial(garbled, whole, length=5)
    yield "utf16", "\n".join(lines).encode("utf-16")
    yield "all-zero-names", b"a\0b 0\nc\0d 1\n"


def lists() -> Iterator[tuple[str, Lay]]:
    def lay(data: Damage, root: Path, rng: random.Random) -> Laid:
        where, folder = written(root / "list.txt", data, rng), str(tree(root) / "train")
        named = ("list.txt", "dog", "cat/", "d/d/d/", "a.b")
        return Laid(where, named, {"root": folder}, count=None)

    for name, data in texts():
        yield name, partial(lay, data)


def subsets() -> Iterator[tuple[str, Lay]]:
    def lay(data: Damage, file: str, root: Path, rng: random.Random) -> Laid:
        subset = str(written(root / file, data, rng))
        return Laid(tree(root), (file,), subset=subset, count=None)

    for name, data in texts():
        yield name, partial(lay, data, "some.txt")
    packed = gzip.compress("\n".join(f"{name} 1" for name in NAMES).encode(), mtime=0)
    for n in range(5):
        yield f"gz-cut{n}", partial(lay, partial(cut, packed), "some.txt.gz")
        yield f"gz-garbled{n}", partial(lay, partial(garbled, packed), "some.txt.gz")
