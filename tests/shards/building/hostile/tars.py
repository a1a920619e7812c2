"""Damaged tars: samples as webdataset reads them, and ImageNet's tars of tars with their tables."""

import gzip
import random
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from .members import header, member, odd_members, samples
from .source import GOOD, JPEGS, Damage, Laid, Lay, cut, garbled, written

UNCOUNTED = ("hidden", "dots", "long-none", "size-none", "size-underscores", "kind-b'Z'")
PAGES = [
    "",
    "{",
    "[]",
    "null",
    "[" * 100_000,
    '{"classes": 5}',
    '{"classes": "ab"}',
    '{"files": 7}',
    '{"split": 3}',
    '{"files": [1, null]}',
    '{"files": [{"file": "../x.tar"}]}',
    '{"classes": [1, {}]}',
    '{"classes": ["a"]}',
    '{"classes": ["\\ud800", "b"]}',
    '{"classes": {"a": 1, "b": 2}}',
    '{"files": [{"file": "a\\u0000.tar"}]}',
]
MATRIX = struct.pack("<II", 14, 8) + struct.pack("<II", 6, 0)
KITS: dict[str, bytes] = {
    "LOC_val_solution.csv quote": b'ImageId,PredictionString\n"' + b"x" * 200_000,
    "LOC_val_solution.csv zero": b"ImageId,PredictionString\na\0,\0\n",
    "LOC_val_solution.csv binary": b"\xff\xfe\0\0",
    "LOC_val_solution.csv short": b"ImageId,PredictionString\na\n",
    "meta.mat short": b"MATLAB 5.0".ljust(124) + b"\0\1IM" + MATRIX,
    "meta.mat none": b"",
    "meta.mat noise": b"MATLAB 5.0".ljust(124) + b"\0\1IM" + random.Random(3).randbytes(500),
    "meta.mat packed": b"MATLAB 5.0".ljust(124) + b"\0\1IM" + struct.pack("<II", 15, 4) + b"oops",
    "ILSVRC2012_devkit_t12.tar.gz cut": gzip.compress(random.Random(5).randbytes(9000), mtime=0)[:5000],
    "ILSVRC2012_devkit_t12.tar.gz noise": random.Random(6).randbytes(3000),
    "ILSVRC2012_devkit_t12.tar.gz negative": gzip.compress(member("meta.mat", b"", size=b"-0000001000") * 3, mtime=0),
    "ILSVRC2012_devkit_t12.tar.gz link": gzip.compress(header(b"d/meta.mat", 0, b"2") + bytes(1024), mtime=0),
    "ILSVRC2012_devkit_t12.tar.gz xz": b"\xfd7zXZ\0" + bytes(600),
}


def tar(parts: list[bytes]) -> bytes:
    return b"".join(parts) + bytes(1024)


def webdataset() -> Iterator[tuple[str, Lay]]:
    def lay(data: Damage, count: int | None, root: Path, rng: random.Random) -> Laid:
        return Laid(written(root / "pets.tar", data, rng), ("pets.tar", "dog/", "cat/"), count=count)

    def paged(page: str, root: Path, _: random.Random) -> Laid:
        (root / "set").mkdir()
        (root / "set" / "pets.tar").write_bytes(whole)
        (root / "set" / "dataset.json").write_text(page)
        return Laid(root / "set", ("dataset.json", "/set"))

    whole = tar(samples())
    for n in range(10):
        yield f"cut{n}", partial(lay, partial(cut, whole, spare=1024), 6)
        yield f"garbled{n}", partial(lay, partial(garbled, whole, length=600), None)
    for n in range(5):
        yield f"head{n}", partial(lay, partial(garbled, whole, last=512, length=3), None)
        yield f"noise{n}", partial(lay, lambda rng: rng.randbytes(rng.randrange(3000)), None)
    yield "zeros", partial(lay, bytes(10240), None)
    for name, members in odd_members().items():
        count = None if name in UNCOUNTED else 7 - name.startswith("kind")
        yield name, partial(lay, tar([*members, *samples()]), count)
    for n, page in enumerate(PAGES):
        yield f"page{n}", partial(paged, page)


def ilsvrc() -> Iterator[tuple[str, Lay]]:
    def outer(inner: dict[str, bytes]) -> bytes:
        return tar([member(name, data) for name, data in inner.items()])

    def lay(data: Damage, count: int | None, root: Path, rng: random.Random) -> Laid:
        written(root / "ILSVRC2012_img_train.tar", data, rng)
        return Laid(root, ("ILSVRC2012", "dog/", "cat/"), count=count)

    def val(file: str, data: bytes, root: Path, _: random.Random) -> Laid:
        images = [member(f"ILSVRC2012_val_{n:08d}.JPEG", d) for n, d in enumerate(JPEGS, 1)]
        (root / "ILSVRC2012_img_val.tar").write_bytes(tar(images))
        if file == "meta.mat":
            (root / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n" * 6)
        (root / file).write_bytes(data)
        return Laid(root, (file, "ILSVRC2012_img_val.tar"), {"split": "val"})

    parts = {c: [member(n.partition("/")[2], d) for n, d in GOOD.items() if n.startswith(c)] for c in ("cat", "dog")}
    inner = {f"{c}.tar": tar(members) for c, members in parts.items()}
    whole, dogs = outer(inner), inner["dog.tar"]
    for n in range(8):
        yield f"cut{n}", partial(lay, partial(cut, whole, spare=1024), 6)
        yield f"garbled{n}", partial(lay, partial(garbled, whole, length=600), None)
        yield f"inner{n}", partial(lay, lambda rng: outer({**inner, "dog.tar": cut(dogs, rng, spare=1024)}), 6)
    odd = {"twice": {"b/dog.tar": dogs}, "none": {"eel.tar": b""}, "dots": {"...tar": dogs}}
    odd |= {"empty": {"eel.tar": bytes(1024)}, "bare": {".tar": dogs}}
    for name, added in odd.items():
        yield name, partial(lay, outer(inner)[:-1024] + outer(added), None)
    for name, data in KITS.items():
        yield f"kit-{name}", partial(val, name.partition(" ")[0], data)
