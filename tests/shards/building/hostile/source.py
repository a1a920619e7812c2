"""A damaged source of six images: the sound images, ways to damage bytes, and what a build may do with the source."""

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image


class Laid(NamedTuple):
    """A damaged source on the disk, and what a build may do with it."""

    source: Path
    named: tuple[str, ...]  # a refusal names one of these: the sample or the file; () = the build is not refused
    options: dict[str, Any] = {}  # noqa: RUF012
    subset: str = "full"
    count: int | None = 6  # images that are stored or listed as skipped; None = depends on the damage
    known: bool = False  # every build detects the damage


Lay = Callable[[Path, random.Random], Laid]
Damage = bytes | Callable[[random.Random], bytes]


def photo(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return coarse.resize((40 + seed, 36), Image.Resampling.BICUBIC)


def saved(image: Image.Image, form: str, **kwargs: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **kwargs)
    return file.getvalue()


JPEGS = [saved(photo(n), "JPEG", quality=92) for n in range(6)]
NAMES = [f"{c}/{c}_{n}.JPEG" for c in ("cat", "dog") for n in range(3)]
BAD = NAMES[4]
GOOD = dict(zip(NAMES, JPEGS, strict=True))


def tree(root: Path, files: dict[str, bytes] = GOOD) -> Path:
    for name, data in files.items():
        path = root / "pets" / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root / "pets"


def cut(data: bytes, rng: random.Random, first: int = 0, spare: int = 0) -> bytes:
    """The first bytes of `data`: at least `first`, and without the last `spare` bytes."""
    return data[: rng.randrange(first, len(data) - spare)]


def garbled(data: bytes, rng: random.Random, first: int = 0, last: int | None = None, length: int = 20) -> bytes:
    """`data` with at most `length` random bytes at one place that starts between `first` and `last`."""
    broken, end = bytearray(data), len(data) if last is None else last
    at, count = rng.randrange(first, end), rng.randint(1, length)
    broken[at : at + count] = rng.randbytes(len(broken[at : at + count]))
    return bytes(broken)


def written(path: Path, data: Damage, rng: random.Random) -> Path:
    path.write_bytes(data(rng) if callable(data) else data)
    return path
