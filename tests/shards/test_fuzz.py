"""Hostile input: whatever a source holds, a build ends in a whole set or in one line that names what is damaged.

Each case is a damaged source of six pictures, built under both policies of --on-error. Its generator is seeded by its
name, so a case that fails can be run again alone.
"""

import base64
import gzip
import io
import json
import os
import random
import signal
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simplejpeg
from PIL import Image

from viewstream.shards.build import BuildOptions, build
from viewstream.shards.errors import UserError
from viewstream.shards.manifest import Manifest
from viewstream.shards.subsets.part import Choice
from viewstream.shards.verify import verify

SECONDS = 120  # a build of six pictures that takes longer hangs
QUICK = 12  # cases of a kind that the short run takes


class Laid(NamedTuple):
    """A damaged source on the disk, and what may be said of it."""

    source: Path
    named: str  # what a message must name: the sample or the file
    options: dict[str, Any] = {}  # noqa: RUF012
    subset: str = "full"
    count: int | None = 6  # pictures that are stored or listed as skipped; None = the container does not say
    known: bool = False  # damaged pictures are seen for sure: the build may not pass them


Lay = Callable[[Path, random.Random], Laid]


def photo(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return coarse.resize((40 + seed, 36), Image.Resampling.BICUBIC)


def saved(image: Image.Image, form: str, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **how)
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


def garbled(data: bytes, rng: random.Random, first: int = 0, last: int | None = None, most: int = 20) -> bytes:
    broken, end = bytearray(data), len(data) if last is None else last
    at, many = rng.randrange(first, end), rng.randint(1, most)
    broken[at : at + many] = rng.randbytes(len(broken[at : at + many]))
    return bytes(broken)


# ------------------------------------------------------------------------------------------------------------ pictures

MODES = {
    "encode": {},
    "headers": {"keep": True},
    "decode": {"keep": True, "check": "decode"},
    "raw": {"keep": True, "raw_fraction": 1.0, "format": ("webdataset", "ffcv")},
}


def claims(height: int, width: int, form: str) -> bytes:
    """A small file whose header says that the picture is as large as this."""
    data = saved(photo(9), form)
    if form == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]
    if form == "GIF":
        return data[:6] + struct.pack("<HH", width, height) + data[10:]
    if form == "BMP":
        return data[:18] + struct.pack("<ii", width, height) + data[26:]
    head = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


def with_exif(block: bytes) -> bytes:
    return JPEGS[4][:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + JPEGS[4][2:]


def tiff(*entries: tuple[int, int, int, int], then: int = 0) -> bytes:
    """EXIF of (tag, type, count, value) and the place of the next list."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + struct.pack("<I", then)


def damaged_pictures() -> Iterator[tuple[str, Callable[[random.Random], bytes], bool]]:
    """(name, bytes, whether every mode must see it)"""
    plain = JPEGS[4]
    scan = plain.index(b"\xff\xda") + 14
    fixed = {"empty": b"", "start": plain[:2], "ends": plain[:2] + plain[-2:], "headers": plain[:scan] + b"\xff\xd9"}
    for name, data in fixed.items():
        yield name, lambda _, d=data: d, name not in ("headers",)
    for n in range(9):
        yield f"cut{n}", lambda rng: plain[: rng.randrange(1, len(plain) - 2)], True
        yield f"scan{n}", lambda rng: garbled(plain, rng, scan, len(plain) - 2), False
    for n in range(8):
        yield f"head{n}", lambda rng: garbled(plain, rng, 2, scan), False
    for size in (1, 2, 12, 500, 20_000):
        yield f"noise{size}", lambda rng, s=size: rng.randbytes(s), True
        yield f"framed{size}", lambda rng, s=size: plain[:2] + rng.randbytes(s) + plain[-2:], True
    for form in ("PNG", "GIF", "WEBP", "BMP", "TIFF"):
        whole = saved(photo(4), form)
        for n in range(2):
            yield f"{form}-cut{n}", lambda rng, w=whole: w[: rng.randrange(4, len(w) - 40)], False
            yield f"{form}-garbled{n}", lambda rng, w=whole: garbled(w, rng, 4), False
            yield f"{form}-head{n}", lambda rng, w=whole: garbled(w, rng, 10, 40), False
    for form in ("JPEG", "PNG", "GIF", "BMP"):
        for size in ((65500, 65500), (65500, 1), (1, 65500), (0, 0)):
            sure = size == (65500, 65500)  # a GIF's canvas may be larger than its picture, but not so much
            yield f"{form}-claims{size[0]}x{size[1]}", lambda _, f=form, s=size: claims(*s, f), sure
    for name, block in {
        "none": b"Exif\0\0",
        "count": tiff((0x0112, 3, 0xFFFFFFFF, 6)),
        "type": tiff((0x0112, 99, 1, 6)),
        "text": tiff((0x0112, 2, 4, 0x00363636)),
        "large": tiff((0x0112, 3, 1, 77)),
        "rational": tiff((0x0112, 5, 1, 0xFFFFFF)),
        "loop": tiff((0x0112, 3, 1, 6), (0x8769, 4, 1, 8), then=8),
    }.items():
        yield f"exif-{name}", lambda _, b=block: with_exif(b), False
    for n in range(4):
        yield f"exif-noise{n}", lambda rng: with_exif(b"Exif\0\0" + rng.randbytes(rng.randrange(1, 300))), False
        yield f"exif-garbled{n}", lambda rng: with_exif(garbled(tiff((0x0112, 3, 1, 6)), rng, 6)), False


def pictures() -> Iterator[tuple[str, Lay]]:
    def lay(make: Callable[[random.Random], bytes], mode: str, sure: bool, root: Path, rng: random.Random) -> Laid:
        where = tree(root, {**GOOD, BAD: make(rng)})
        return Laid(where, BAD, MODES[mode], known=sure)

    for number, (name, make, sure) in enumerate(damaged_pictures()):
        modes = list(MODES)[:3] if sure and "noise" not in name else [list(MODES)[number % len(MODES)]]
        for mode in modes:
            yield f"{name}-{mode}", partial(lay, make, mode, sure)
    yield "claims13000-encode", partial(lay, lambda _: claims(13000, 13000, "JPEG"), "encode", True)


# --------------------------------------------------------------------------------------------------------------- trees


def trees() -> Iterator[tuple[str, Lay]]:
    def renamed(name: str, root: Path, _: random.Random) -> Laid:
        files = {**GOOD, name: GOOD[BAD]}
        del files[BAD]
        hidden = name.partition("/")[2].startswith(".")
        return Laid(tree(root, files), "udcff" if "\udcff" in name else name, count=5 if hidden else 6)

    def linked(name: str, target: str, count: int, root: Path, _: random.Random) -> Laid:
        path = tree(root) / "train" / name
        path.symlink_to(target)
        return Laid(root / "pets", name, count=count, known=count == 7)

    def fifo(root: Path, _: random.Random) -> Laid:
        os.mkfifo(tree(root) / "train" / "dog" / "pipe.JPEG")
        return Laid(root / "pets", "pipe.JPEG", count=7, known=True)

    odd = [
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
    ]
    for n, stem in enumerate([*odd, "{0..3}", "-rf", "$HOME", "\x7f\x1b[31m"]):
        yield f"name{n}", partial(renamed, f"dog/{stem}.JPEG")
        if len(stem) < 60:
            yield f"class{n}", partial(renamed, f"{stem}/{stem}.JPEG")
    yield (
        "hidden",
        lambda root, _: Laid(tree(root, {**GOOD, "dog/.x.JPEG": b"", ".hid/x.JPEG": b"", "dog/x.txt": b""}), ""),
    )
    yield "twins", lambda root, _: Laid(tree(root, {**GOOD, "dog/dog_1.png": b""}), "dog_1.png")
    yield "huge-sparse", lambda root, _: _sparse(root)
    links = [("no.JPEG", "nowhere", 7), ("self.JPEG", "self.JPEG", 7), ("zero.JPEG", "/dev/zero", 7)]
    links += [("up", "..", 6), ("folder.JPEG", "../cat", 6), ("long.JPEG", "y" * 300, 7), ("tty.JPEG", "/dev/tty", 7)]
    for name, target, count in links:
        yield f"link-{name}", partial(linked, f"dog/{name}", target, count)
    yield "link-class", partial(linked, "eel", "eel", 6)
    yield "pipe", fifo
    yield "unreadable", _unreadable


def _sparse(root: Path) -> Laid:
    where = tree(root)
    os.truncate(where / "train" / BAD, 1 << 42)
    return Laid(where, BAD, known=True)


def _unreadable(root: Path, _: random.Random) -> Laid:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tree(root) / "train" / BAD).chmod(0)
    return Laid(root / "pets", BAD, known=True)


# ---------------------------------------------------------------------------------------------------------------- tars


def header(name: bytes, size: bytes | int, kind: bytes = b"0") -> bytes:
    """A block with a checksum that is right, whatever it says."""
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    block = bytearray(name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + field.ljust(12, b"\0"))
    block += b"0" * 11 + b"\0" + b" " * 8 + kind + bytes(100) + b"ustar\x0000" + bytes(247)
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: str | bytes, data: bytes, kind: bytes = b"0", size: bytes | None = None) -> bytes:
    raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    return header(raw, size or len(data), kind) + data + bytes(-len(data) % 512)


def pax(**records: str) -> bytes:
    text = b""
    for key, value in records.items():
        tail = f" {key}={value}\n".encode("utf-8", "surrogateescape")
        size = next(n for n in range(len(tail) + 1, len(tail) + 9) if n == len(str(n)) + len(tail))
        text += str(size).encode() + tail
    return member("pax", text, b"x")


def samples(files: dict[str, bytes] = GOOD) -> list[bytes]:
    found = []
    for name, data in files.items():
        label = b"%d" % name.startswith("dog")
        found += [member(name, data), member(f"{name.rpartition('.')[0]}.cls", label)]
    return found


def odd_members() -> dict[str, list[bytes]]:
    """Whole tars but for one member, which stands in front."""
    one = JPEGS[5]
    found = {
        name: [member(f"{title}.jpg", one), member(f"{title}.cls", b"1")]
        for name, title in {
            "up": "../x", "inside": "dog/../x", "absolute": "/dog/x", "dot": "dog/./x", "double": "dog//x",
            "newline": "dog/a\nb", "folder-newline": "do\ng/a", "latin": "dog/\udcff", "space": " dog / x ",
            "again": "dog/dog_1", "dots": "dog/x.y", "hidden": "dog/.x",
        }.items()
    }  # fmt: skip
    found |= {
        f"size-{name}": [member("dog/x.jpg", one, size=size), member("dog/x.cls", b"1")]
        for name, size in {
            "negative": b"-0000001000", "back": b"-1", "huge": b"77777777777", "binary": b"\x80" + b"\xff" * 11,
            "minus": b"\xff" * 12, "word": b"abcdefg", "none": b"\0", "underscores": b"1_0",
        }.items()
    }  # fmt: skip
    found |= {
        f"kind-{k!r}": [header(b"dog/x.jpg", 0, k)] for k in (b"1", b"2", b"3", b"5", b"6", b"S", b"K", b"g", b"Z")
    }
    wanted = [member("y.jpg", one), member("dog/x.cls", b"1")]
    found |= {
        "pax-up": [pax(path="../../etc/x.jpg"), *wanted],
        "pax-zero": [pax(path="dog/a\0b.jpg"), wanted[0], pax(path="dog/a\0b.cls"), member("y", b"1")],
        "pax-size": [pax(size="9" * 4), *wanted],
        "pax-digits": [pax(size="9" * 5000), *wanted],
        "pax-length": [member("p", b"9" * 5000 + b" path=x\n", b"x"), *wanted],
        "pax-key": [pax(**{"GNU.sparse\udcff": "1"}), *wanted],
        "pax-none": [member("p", b"12345", b"x"), *wanted],
        "pax-zero-length": [member("p", b"0 a=b\n", b"x"), *wanted],
        "pax-many": [member("p", b"5 a=\n" * 50_000, b"x"), *wanted],
        "long-name": [member("l", b"dog/" + b"n" * 5000 + b".jpg\0", b"L"), *wanted],
        "long-none": [member("l", b"", b"L"), *wanted],
        "cls-word": [member("dog/x.jpg", one), member("dog/x.cls", b"dog")],
        "cls-binary": [member("dog/x.jpg", one), member("dog/x.cls", b"\xff\0")],
        "cls-negative": [member("dog/x.jpg", one), member("dog/x.cls", b"-7")],
        "cls-large": [member("dog/x.jpg", one), member("dog/x.cls", b"9" * 5000)],
        "json-deep": [member("dog/x.jpg", one), member("dog/x.json", b"[" * 300_000)],
        "json-number": [member("dog/x.jpg", one), member("dog/x.json", b'{"label": 1e999}')],
        "json-digits": [member("dog/x.jpg", one), member("dog/x.json", b'{"label": ' + b"9" * 5000 + b"}")],
        "json-binary": [member("dog/x.jpg", one), member("dog/x.json", b"\xff\xfe{}")],
        "picture": [member("dog/x.jpg", b"none"), member("dog/x.cls", b"1")],
        "empty": [member("dog/x.jpg", b""), member("dog/x.cls", b"1")],
    }
    return found


def webdataset() -> Iterator[tuple[str, Lay]]:
    whole = b"".join(samples()) + bytes(1024)

    def lay(
        data: bytes | None,
        how: Callable[[random.Random], bytes] | None,
        count: int | None,
        root: Path,
        rng: random.Random,
    ) -> Laid:
        (root / "pets.tar").write_bytes(how(rng) if how else data or b"")
        return Laid(root / "pets.tar", "pets.tar|dog|cat", count=count)

    for n in range(10):
        yield f"cut{n}", partial(lay, None, lambda rng: whole[: rng.randrange(len(whole) - 1024)], 6)
        yield f"garbled{n}", partial(lay, None, lambda rng: garbled(whole, rng, most=600), None)
    for n in range(5):
        yield f"head{n}", partial(lay, None, lambda rng: garbled(whole, rng, 0, 512, 3), None)
        yield f"noise{n}", partial(lay, None, lambda rng: rng.randbytes(rng.randrange(3000)), None)
    yield "zeros", partial(lay, bytes(10240), None, None)
    for name, some in odd_members().items():
        many = (
            None
            if name in ("hidden", "dots", "long-none", "size-none", "size-underscores", "kind-b'Z'")
            else 7 - name.startswith("kind")
        )
        yield name, partial(lay, b"".join([*some, *samples(), bytes(1024)]), None, many)
    pages = [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"classes": 5}',
        '{"classes": "ab"}',
        '{"files": 7}',
        '{"split": 3}',
    ]
    pages += ['{"files": [1, null]}', '{"files": [{"file": "../x.tar"}]}', '{"classes": [1, {}]}', '{"classes": ["a"]}']
    pages += ['{"classes": ["\\ud800", "b"]}', '{"classes": {"a": 1, "b": 2}}', '{"files": [{"file": "a\\u0000.tar"}]}']
    for n, page in enumerate(pages):
        yield f"page{n}", partial(_paged, page, whole)


def _paged(page: str, whole: bytes, root: Path, _: random.Random) -> Laid:
    (root / "set").mkdir()
    (root / "set" / "pets.tar").write_bytes(whole)
    (root / "set" / "dataset.json").write_text(page)
    return Laid(root / "set", "dataset.json|tar|set")


def ilsvrc() -> Iterator[tuple[str, Lay]]:
    def outer(inner: dict[str, bytes]) -> bytes:
        return b"".join(member(name, data) for name, data in inner.items()) + bytes(1024)

    def lay(how: Callable[[random.Random], bytes], count: int | None, root: Path, rng: random.Random) -> Laid:
        (root / "ILSVRC2012_img_train.tar").write_bytes(how(rng))
        return Laid(root, "ILSVRC2012|dog|cat", count=count)

    parts = {c: [member(n.partition("/")[2], d) for n, d in GOOD.items() if n.startswith(c)] for c in ("cat", "dog")}
    inner = {f"{c}.tar": b"".join(some) + bytes(1024) for c, some in parts.items()}
    whole = outer(inner)
    for n in range(8):
        yield f"cut{n}", partial(lay, lambda rng: whole[: rng.randrange(len(whole) - 1024)], 6)
        yield f"garbled{n}", partial(lay, lambda rng: garbled(whole, rng, most=600), None)
        yield (
            f"inner{n}",
            partial(
                lay,
                lambda rng: outer(
                    {**inner, "dog.tar": inner["dog.tar"][: rng.randrange(len(inner["dog.tar"]) - 1024)]}
                ),
                6,
            ),
        )
    odd = {"twice": {"b/dog.tar": inner["dog.tar"]}, "none": {"eel.tar": b""}, "dots": {"...tar": inner["dog.tar"]}}
    odd |= {"empty": {"eel.tar": bytes(1024)}, "bare": {".tar": inner["dog.tar"]}}
    for name, more in odd.items():
        yield name, partial(lay, lambda _, m=more: outer(inner)[:-1024] + outer(m), None)
    for name, text in KITS.items():
        yield f"kit-{name}", partial(_val, name, text)


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
    "ILSVRC2012_devkit_t12.tar.gz cut": gzip.compress(random.Random(5).randbytes(9000))[:5000],
    "ILSVRC2012_devkit_t12.tar.gz noise": random.Random(6).randbytes(3000),
    "ILSVRC2012_devkit_t12.tar.gz negative": gzip.compress(member("meta.mat", b"", size=b"-0000001000") * 3),
    "ILSVRC2012_devkit_t12.tar.gz link": gzip.compress(header(b"d/meta.mat", 0, b"2") + bytes(1024)),
    "ILSVRC2012_devkit_t12.tar.gz xz": b"\xfd7zXZ\0" + bytes(600),
}


def _val(name: str, data: bytes, root: Path, _: random.Random) -> Laid:
    file = name.partition(" ")[0]
    tar = b"".join(member(f"ILSVRC2012_val_{n:08d}.JPEG", d) for n, d in enumerate(JPEGS, 1)) + bytes(1024)
    (root / "ILSVRC2012_img_val.tar").write_bytes(tar)
    (root / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n" * 6) if file == "meta.mat" else None
    (root / file).write_bytes(data)
    return Laid(root, f"{file}|ILSVRC2012_img_val.tar", {"split": "val"})


# -------------------------------------------------------------------------------------------------------------- tables


def tsv() -> Iterator[tuple[str, Lay]]:
    rows = [
        (name.partition("/")[2].encode(), b"%d" % name.startswith("dog"), base64.b64encode(d))
        for name, d in GOOD.items()
    ]
    lines = [b"\t".join(row) for row in rows]
    whole = b"\n".join(lines) + b"\n"
    key, label, data = rows[4]

    def lay(
        how: Callable[[random.Random], bytes], index: bytes | None, count: int | None, root: Path, rng: random.Random
    ) -> Laid:
        (root / "pets.tsv").write_bytes(how(rng))
        if index is not None:
            (root / "pets.lineidx").write_bytes(index)
        return Laid(root / "pets.tsv", "pets.tsv|dog|cat", count=count)

    odd = {
        "base64": b"\t".join((key, label, b"*" + data)), "padding": b"\t".join((key, label, data[:-1])),
        "nothing": b"\t".join((key, label, b"")), "columns": key + b"\t" + label, "one": key, "blank": b"",
        "extra": b"\t".join((key, label, b"0.5", b"x" * 99_000, data)),
        "far": b"\t".join((key, b" " * 70_000 + label, data)),
        "latin": b"\t".join((b"\xff", label, data)), "zero": b"\t".join((b"a\0b", label, data)),
        "up": b"\t".join((b"../x", label, data)), "slash": b"\t".join((b"/x", label, data)),
        "empty-key": b"\t".join((b"", label, data)), "spaces": b"\t".join((b"  ", label, data)),
        "twice": b"\t".join((rows[3][0], label, data)), "return": b"\t".join((key, label, data)) + b"\r",
        "picture": b"\t".join((key, label, base64.b64encode(b"none"))),
    }  # fmt: skip
    odd |= {f"label-{n}": b"\t".join((key, word, data)) for n, word in enumerate(LABELS)}
    for name, line in odd.items():
        yield name, partial(lay, lambda _, x=line: b"\n".join([*lines[:4], x, lines[5]]), None, 6)
    for n in range(8):
        yield f"cut{n}", partial(lay, lambda rng: whole[: rng.randrange(1, len(whole))], None, None)
        yield f"garbled{n}", partial(lay, lambda rng: garbled(whole, rng), None, None)
    yield "noise", partial(lay, lambda rng: rng.randbytes(5000), None, None)
    starts = np.cumsum([0, *(len(line) + 1 for line in lines)])[:-1].tolist()
    for name, some in {
        "skips": starts[:2] + starts[3:], "short": starts[:3], "inside": [0, 9, *starts[2:]], "first": starts[1:],
        "negative": [-1, *starts[1:]], "beyond": [*starts, 10**9], "backwards": starts[::-1], "large": [0, 10**30],
    }.items():  # fmt: skip
        yield f"index-{name}", partial(lay, lambda _: whole, b"".join(b"%d\n" % s for s in some), 6)
    for n, index in enumerate((b"", b"\xff\0", b"zero\n", b"9" * 5000)):
        yield f"index{n}", partial(lay, lambda _: whole, index, 6)


LABELS = (b"cat", b"1.5", b"-1", b"-9", b"", b"10000000", b"9" * 25, b"9" * 5000, b"\xff", b"1e3", b"nan", b"0x1")


def parquet() -> Iterator[tuple[str, Lay]]:
    image = [{"bytes": data, "path": name} for name, data in GOOD.items()]
    label = [0, 0, 0, 1, 1, 1]

    def made(page: Any = None, **columns: Any) -> bytes:
        file = io.BytesIO()
        table = pa.table({name: c for name, c in {"image": image, "label": label, **columns}.items() if c is not None})
        table = table.replace_schema_metadata({"huggingface": page}) if page is not None else table
        pq.write_table(table, file, row_group_size=2)
        return file.getvalue()

    def lay(how: Callable[[random.Random], bytes], count: int | None, root: Path, rng: random.Random) -> Laid:
        (root / "pets.parquet").write_bytes(how(rng))
        return Laid(root / "pets.parquet", "pets.parquet|dog|cat|1/|0/", count=count)

    whole = made()
    for n in range(8):
        yield f"cut{n}", partial(lay, lambda rng: whole[: rng.randrange(len(whole))], 6)
    for n in range(12):
        yield f"garbled{n}", partial(lay, lambda rng: garbled(whole, rng, most=4), None)

    def but(**change: Any) -> list[Any]:
        return [*image[:4], {**image[4], **change}, image[5]]

    paths = pa.array([b"\xff\xfe"] * 6).cast(pa.binary())
    odd: dict[str, dict[str, Any]] = {
        "null-bytes": {"image": but(bytes=None)}, "null-row": {"image": [*image[:4], None, image[5]]},
        "null-path": {"image": but(path=None)}, "up": {"image": but(path="..")},
        "zero": {"image": but(path="a\0b.jpg")},
        "empty": {"image": but(bytes=b"")}, "noise": {"image": but(bytes=b"noise")},
        "null-label": {"label": [*label[:5], None]},
        "label-text": {"label": ["a"] * 6}, "label-float": {"label": [0.5] * 6},
        "label-negative": {"label": [-1, -2, -1, -1, -9, -1]},
        "label-large": {"label": pa.array([2**64 - 1] * 6, pa.uint64())}, "label-long": {"label": [2**40] * 6},
        "no-picture": {"image": None}, "no-label": {"label": None},
        "two": {"left": image, "image": None, "right": image},
        "bytes-text": {"image": [{"bytes": "text", "path": "x"}] * 6}, "bytes-number": {"image": [{"bytes": 5}] * 6},
        "path-number": {"image": but(path="7")},
        "path-ints": {"image": [{**one, "path": n} for n, one in enumerate(image)]},
        "path-binary": {"image": pa.StructArray.from_arrays([pa.array(JPEGS), paths], ["bytes", "path"])},
        "all-null": {"image": pa.nulls(6, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))},
    }  # fmt: skip
    for name, columns in odd.items():
        yield name, partial(lay, lambda _, c=columns: made(**c), 6)
    yield "no-rows", partial(lay, lambda _: _empty_table(), None)
    for n, names in enumerate(
        ([], ["a"], ["../a", "b"], ["", ""], ["\ud800", "b"], 5, "ab", ["a\0", "b"], ["a", "a"], [None, {}])
    ):
        page = json.dumps({"info": {"features": {"label": {"names": names}}}})
        yield f"names{n}", partial(lay, lambda _, p=page: made(p, image=[{"bytes": d, "path": None} for d in JPEGS]), 6)
    for n, page in enumerate(("{", "[" * 100_000, '{"info": 5}', '{"info": {"features": []}}')):
        yield f"page{n}", partial(lay, lambda _, p=page: made(p), 6)


def _empty_table() -> bytes:
    file = io.BytesIO()
    pq.write_table(
        pa.table({"image": pa.array([], pa.struct([("bytes", pa.binary())])), "label": pa.array([], pa.int64())}), file
    )
    return file.getvalue()


# --------------------------------------------------------------------------------------------------------------- lists


def texts() -> dict[str, bytes | Callable[[random.Random], bytes]]:
    lines = [f"{name} {int(name[0] == 'd')}" for name in NAMES]
    odd = {
        "missing-field": "dog/dog_1.JPEG", "twice": lines[3], "absent": "dog/no.JPEG 1", "up": "../dog/dog_1.JPEG 1",
        "inside": "dog/../cat/x.JPEG 1", "zero": "dog/a\0b.JPEG 1", "long": f"dog/{'x' * 5000}.JPEG 1",
        "deep": f"{'d/' * 3000}x.JPEG 1", "only-slash": "/ 1", "space": "dog/a b.JPEG 1",
        "fields": "dog/dog_1.JPEG 1 2 3 4",
        "half": "train/ 1", "folder": "dog 1", "nbsp": "dog/dog_1.JPEG\u00a01", "separator": "dog/dog_1.JPEG\u2028 1",
        "bom": "\ufeffdog/dog_1.JPEG 1", "surrogate": "dog/\U0001f408.JPEG 1",
    }  # fmt: skip
    odd |= {
        f"label-{n}": f"{BAD} {word}"
        for n, word in enumerate((*"a٣²", "-1", "-", "--1", "1.0", "10000001", "9" * 25, "9" * 5000, "0x1", "5000"))
    }
    found: dict[str, bytes | Callable[[random.Random], bytes]] = {
        name: "\n".join([*lines[:4], line, lines[5]]).encode() for name, line in odd.items()
    }
    whole = "\n".join(lines).encode()
    found |= {
        "empty": b"",
        "blank": b"\n \n",
        "nbsp-alone": "\u00a0\n".encode(),
        "bom-alone": b"\xef\xbb\xbf",
        "zeros": bytes(50),
    }
    found |= {f"noise{n}": lambda rng: rng.randbytes(rng.randrange(1, 2000)) for n in range(4)}
    found |= {f"cut{n}": lambda rng: whole[: rng.randrange(1, len(whole))] for n in range(4)}
    found |= {f"garbled{n}": lambda rng: garbled(whole, rng, most=5) for n in range(8)}
    return found | {"utf16": "\n".join(lines).encode("utf-16"), "all-zero-names": b"a\0b 0\nc\0d 1\n"}


def lists() -> Iterator[tuple[str, Lay]]:
    def lay(text: Any, root: Path, rng: random.Random) -> Laid:
        tree(root)
        (root / "list.txt").write_bytes(text(rng) if callable(text) else text)
        return Laid(root / "list.txt", "list.txt|dog|d/d|cat|a.b", {"root": str(root / "pets" / "train")}, count=None)

    for name, text in texts().items():
        yield name, partial(lay, text)


def subsets() -> Iterator[tuple[str, Lay]]:
    def lay(data: Any, file: str, root: Path, rng: random.Random) -> Laid:
        (root / file).write_bytes(data(rng) if callable(data) else data)
        return Laid(tree(root), file, subset=str(root / file), count=None)

    for name, text in texts().items():
        yield name, partial(lay, text, "some.txt")
    packed = gzip.compress("\n".join(f"{name} 1" for name in NAMES).encode())
    for n in range(5):
        yield f"gz-cut{n}", partial(lay, lambda rng: packed[: rng.randrange(len(packed))], "some.txt.gz")
        yield f"gz-garbled{n}", partial(lay, lambda rng: garbled(packed, rng), "some.txt.gz")


# ------------------------------------------------------------------------------------------------------------- the law

KINDS = (pictures, trees, webdataset, ilsvrc, tsv, parquet, lists, subsets)
CASES = {kind.__name__: list(kind()) for kind in KINDS}


def params() -> Iterator[Any]:
    for kind, cases in CASES.items():
        step = max(1, len(cases) // QUICK)
        for number, (name, lay) in enumerate(cases):
            marks = [] if number % step == 0 else [pytest.mark.full]
            yield pytest.param(
                f"{kind}-{name}", lay, id=f"{kind}-{name}".encode("unicode_escape").decode(), marks=marks
            )


def look(root: Path) -> dict[str, tuple[int, int, int]]:
    """Everything under a folder but the set itself and the index that a TSV may get."""
    found = {}
    for folder, dirs, files in os.walk(root):
        if Path(folder) == root and "out" in dirs:
            dirs.remove("out")
        for name in [*dirs, *files]:
            path = Path(folder) / name
            status = path.lstat()
            if path.suffix != ".lineidx":
                found[str(path)] = (
                    status.st_mode,
                    status.st_size,
                    0 if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns,
                )
    return found


def tried(laid: Laid, out: Path, policy: str, workers: int = 1) -> Manifest | UserError:
    """A build, or its refusal; one that hangs is stopped."""

    def stop(*_: object) -> None:
        pytest.fail(f"the build hangs: {SECONDS} s have passed")

    options: dict[str, Any] = {
        "max_side": 32,
        "format": ("webdataset",),
        "workers": workers,
        **laid.options,
        "on_error": policy,
    }
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        return build(BuildOptions(source=laid.source, out=out, **options), Choice(laid.subset))
    except UserError as error:
        return error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def hold(laid: Laid, tmp_path: Path, policies: tuple[str, ...] = ("fail", "skip"), workers: int = 1) -> None:
    before = look(tmp_path)
    for policy in policies:
        out = tmp_path / "out" / policy
        made = tried(laid, out, policy, workers)
        assert look(tmp_path) == before
        if isinstance(made, UserError):
            assert not (out / "dataset.json").exists()
            assert policy == "skip" or not out.exists()
            if policy == "skip" and "pictures are damaged, the first by" in str(made):
                continue
            assert any(word in str(made) or repr(word)[1:-1] in str(made) for word in laid.named.split("|")), str(made)
            assert len(str(made)) > 30, "no cause, no remedy"
            continue
        assert not verify(made, workers=1)
        skipped = made.info.report["skipped"]
        assert not (skipped and policy == "fail")
        assert all(row["source"] and row["cause"] for row in skipped)
        assert laid.count in (None, len(made) + len(skipped))
        assert len(skipped) if laid.known else True
        for row in range(len(made)):
            with made.tars()[made.shard[row]].open("rb") as tar:
                tar.seek(made.offset[row])
                jpeg = tar.read(made.bytes[row])
            assert jpeg.endswith(b"\xff\xd9") or not laid.options.get("keep")
            size = simplejpeg.decode_jpeg_header(jpeg)[:2]
            if made.info.report["check"] == "decode" or made.info.encoding.get("raw_fraction"):
                size = simplejpeg.decode_jpeg(jpeg).shape[:2]
            assert size == tuple(made.hw[row])


@pytest.mark.parametrize(("name", "lay"), list(params()))
def test_a_damaged_source_is_a_whole_set_or_one_line_that_names_the_damage(name, lay, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: None)  # a fifth of the time, and no machine dies here
    monkeypatch.setattr("viewstream.shards.build.version", cache(version))
    hold(lay(tmp_path, random.Random(name)), tmp_path)


@pytest.mark.full
@pytest.mark.parametrize(("name", "policy"), [("trees-pipe", "skip"), ("tsv-index-skips", "fail")])
def test_worker_processes_keep_the_same_law(name, policy, tmp_path, monkeypatch):
    monkeypatch.setattr("viewstream.shards.plan.BLOCK_SAMPLES", 2)
    kind, _, case = name.partition("-")
    hold(dict(CASES[kind])[case](tmp_path, random.Random(name)), tmp_path, (policy,), workers=2)


def test_there_are_enough_cases():
    assert sum(map(len, CASES.values())) >= 300
    assert min(map(len, CASES.values())) >= 30
